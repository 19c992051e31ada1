// What can go wrong on the control socket. Both sides use it: the server sends the code and the
// sentence in its last frame, and the client throws the same error again.

export const CONTROL_CODES = [
  'no_daemon', // nothing listens on the socket
  'not_permitted', // the socket is there, but not for this user
  'no_answer', // the daemon went silent or closed the connection in mid-reply
  'bad_frame', // not this protocol, or a frame over its bound
  'bad_json', // a request that is not a JSON object
  'bad_version', // client and daemon of different versions
  'bad_verb', // a verb that this daemon does not have
  'bad_args', // arguments that the verb does not take
  'busy', // too many clients at once
  'timeout', // the request did not come in time
  'slow_reader', // the client does not read its reply
  'closed', // the client is gone, or the daemon stops
  'running', // another daemon listens on the socket
  'bad_path', // the socket cannot be made here
  'failed', // the verb was tried and did not succeed
] as const;
export type ControlCode = (typeof CONTROL_CODES)[number];

/** The one error of this layer; its message is a sentence that says what to do. */
export class ControlError extends Error {
  constructor(
    readonly code: ControlCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.name = 'ControlError';
  }
}

/** An error as it stands in a reply's last frame; a code of another layer is a failure here. */
export function toControlError(error: unknown): ControlError {
  if (error instanceof ControlError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new ControlError('failed', message, { cause: error });
}

export function isControlCode(code: unknown): code is ControlCode {
  return (CONTROL_CODES as readonly unknown[]).includes(code);
}
