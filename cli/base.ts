// What every command of splicectl shares: which daemon it talks to, and how it asks.
import { Command } from '@oclif/core/command';
import * as Flags from '@oclif/core/flags';
import { call, type Listener } from '../daemon/control/client.js';
import type { Args, Result, Verb } from '../daemon/control/protocol.js';
import { type Daemon, socketPath } from './socket.js';

export const jsonFlag = Flags.boolean({ description: 'as one JSON object' });

export abstract class Splicectl extends Command {
  static override baseFlags = {
    socket: Flags.string({
      char: 'S',
      description: "the daemon's control socket",
      helpValue: 'SOCKET',
      helpGroup: 'GLOBAL',
    }),
    config: Flags.string({
      char: 'C',
      description: "the daemon's configuration, which names the socket",
      helpValue: 'FILE',
      helpGroup: 'GLOBAL',
      exclusive: ['socket'],
    }),
  };

  protected ask<V extends Verb>(
    daemon: Daemon,
    verb: V,
    args: Args<V>,
    listener?: Listener,
  ): Promise<Result<V>> {
    return call(socketPath(daemon), verb, args, listener);
  }
}
