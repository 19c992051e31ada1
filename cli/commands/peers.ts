// Talk between the nodes, asked for by hand.
import { Splicectl } from '../base.js';
import { writeLine } from '../output.js';
import { counted } from '../words.js';

export class Request extends Splicectl {
  static override summary = '[-n] ask the other nodes for all that they own';

  async run(): Promise<void> {
    const { flags } = await this.parse(Request);
    const { peers } = await this.ask(flags, 'request', {});
    await writeLine(`asked the link; ${counted(peers, 'node')} known on it`);
  }
}

export class Bulk extends Splicectl {
  static override summary = '[-B] send the whole internal cache to the other nodes';

  async run(): Promise<void> {
    const { flags } = await this.parse(Bulk);
    const { records } = await this.ask(flags, 'bulk', {});
    await writeLine(`${counted(records, 'splice')} on their way to the other nodes`);
  }
}
