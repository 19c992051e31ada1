// One look at the cluster; describe.ts has the words.
import { jsonFlag, Splicectl } from '../base.js';
import { describe } from '../describe.js';
import { writeLine } from '../output.js';

export class Status extends Splicectl {
  static override summary = 'role, peers, in sync or not, lag; what is wrong comes first';
  static override flags = { json: jsonFlag };

  async run(): Promise<void> {
    const { flags } = await this.parse(Status);
    const status = await this.ask(flags, 'status', {});
    await writeLine(flags.json ? JSON.stringify(status) : describe(status).join('\n'));
  }
}
