// SPDX-License-Identifier: MIT
/**
 * Opens a datapath as some version of this project would: argv is its kernel/datapath,
 * the options as JSON, and perhaps the step of an upgrade at which to die. Does so when told
 * by IPC, tells how it went, and ends.
 */
import type { Datapath, DatapathOptions } from '../../../kernel/datapath.js';

const [, , path, json, dieAt] = process.argv;
const options = JSON.parse(json) as DatapathOptions;
const version = (await import(path)) as { Datapath: typeof Datapath };
const upgradeStep = (step: string): void => {
  if (step === dieAt) process.kill(process.pid, 'SIGKILL');
};
await new Promise((go) => process.once('message', go));
const datapath = await version.Datapath.open({ ...options, upgradeStep });
const { adopted, upgraded, table } = datapath;
process.send?.({ adopted, upgraded, size: table.size, live: table.live() }, () => process.exit());
