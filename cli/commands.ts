// The verbs. oclif reads this one table (its "explicit" strategy), so that nothing is searched for
// on disk when splicectl starts.
import { Commit, Flush, Resync } from './commands/caches.js';
import { Dump } from './commands/dump.js';
import { FlushKernel, Shorten } from './commands/kernel.js';
import { SetRole, Stop } from './commands/life.js';
import { Handover, Rehearse } from './commands/moves.js';
import { Bulk, Request, Verify } from './commands/peers.js';
import { Stats } from './commands/stats.js';
import { Status } from './commands/status.js';

export const COMMANDS = {
  status: Status,
  dump: Dump,
  commit: Commit,
  flush: Flush,
  'flush-kernel': FlushKernel,
  resync: Resync,
  request: Request,
  bulk: Bulk,
  verify: Verify,
  shorten: Shorten,
  stats: Stats,
  handover: Handover,
  rehearse: Rehearse,
  role: SetRole,
  stop: Stop,
};
