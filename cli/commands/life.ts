// The daemon itself, and who holds the addresses.
import * as Args from '@oclif/core/args';
import { ControlError } from '../../daemon/control/error.js';
import { type HandoverResult, ROLES, type Role } from '../../daemon/control/protocol.js';
import { rememberRole } from '../../daemon/control/role-file.js';
import { Splicectl } from '../base.js';
import { writeLine } from '../output.js';
import { socketPath } from '../socket.js';
import { counted, plain, span } from '../words.js';

export class Stop extends Splicectl {
  static override summary = '[-k] stop the daemon; the splices go on in the kernel';

  async run(): Promise<void> {
    const { flags } = await this.parse(Stop);
    await this.ask(flags, 'stop', {});
    await writeLine('spliced stops; the splices go on in the kernel');
  }
}

export class SetRole extends Splicectl {
  static override summary = 'tell the daemon what VRRP or CARP has decided, for notify scripts';
  static override args = {
    role: Args.string({ description: "this node's part", options: [...ROLES], required: true }),
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(SetRole);
    const role = args.role as Role;
    try {
      await this.ask(flags, 'role', { role });
    } catch (error) {
      if (!(error instanceof ControlError) || error.code !== 'no_daemon') throw error;
      rememberRole(socketPath(flags), role);
      throw new ControlError('no_daemon', `${error.message}; it will know when it starts`);
    }
    await writeLine(`this node is ${role}`);
  }
}

export class Handover extends Splicectl {
  static override summary = 'give the virtual addresses to the peer; no connection is reset';

  async run(): Promise<void> {
    const { flags } = await this.parse(Handover);
    const result = await this.ask(
      flags,
      'handover',
      {},
      {
        json: ({ progress }) => {
          if (typeof progress === 'string') return writeLine(plain(progress));
        },
      },
    );
    await writeLine(describeHandover(result));
  }
}

function describeHandover({ took_ms, left, steps }: HandoverResult): string {
  const { settle_ms, splices_ms, let_go_ms, addresses_ms } = steps;
  const open = left.sockets + left.unacknowledged;
  const but = open === 0 ? '' : `; ${counted(open, 'flow')} could not be handed over`;
  return (
    `handed over in ${span(took_ms)}: ${span(settle_ms)} until everything was replicated, ` +
    `${span(splices_ms)} until the peer had taken over, ${span(let_go_ms)} until the addresses were gone ` +
    `from here, ${span(addresses_ms)} until they were there${but}`
  );
}
