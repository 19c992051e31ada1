// The daemon itself, and its part.
import * as Args from '@oclif/core/args';
import { ControlError } from '../../daemon/control/error.js';
import { ROLES, type Role } from '../../daemon/control/protocol.js';
import { rememberRole } from '../../daemon/control/role-file.js';
import { Splicectl } from '../base.js';
import { writeLine } from '../output.js';
import { socketPath } from '../socket.js';

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
