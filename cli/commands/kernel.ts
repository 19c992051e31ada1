// The kernel's splice table.
import { Splicectl } from '../base.js';
import { writeLine } from '../output.js';
import { counted } from '../words.js';

export class FlushKernel extends Splicectl {
  static override summary = '[-F] empty the kernel splice table: every spliced connection ends';

  async run(): Promise<void> {
    const { flags } = await this.parse(FlushKernel);
    const { removed } = await this.ask(flags, 'flush-kernel', {});
    await writeLine(`${counted(removed, 'splice')} removed from the kernel`);
  }
}

export class Shorten extends Splicectl {
  static override summary = "[-t] shorten the timers of the kernel's entries to PurgeTimeout";

  async run(): Promise<void> {
    const { flags } = await this.parse(Shorten);
    const { shortened } = await this.ask(flags, 'shorten', {});
    await writeLine(`timers of ${counted(shortened, 'splice')} shortened`);
  }
}
