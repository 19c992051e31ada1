// The control socket, for both of its ends.
export { type CallOptions, call, type Listener } from './client.js';
export { CONTROL_CODES, type ControlCode, ControlError } from './error.js';
export * from './protocol.js';
export type { Reply } from './reply.js';
export { rememberedRole, rememberRole } from './role-file.js';
export {
  type ControlLimits,
  ControlServer,
  type ControlServerOptions,
  type Handler,
  type Handlers,
} from './server.js';
