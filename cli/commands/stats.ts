// The daemon's figures.
import * as Args from '@oclif/core/args';
import { STATS, type StatsName } from '../../daemon/control/protocol.js';
import { jsonFlag, Splicectl } from '../base.js';
import { writeLine } from '../output.js';
import { columns, count, plain } from '../words.js';

export class Stats extends Splicectl {
  static override summary = '[-s] statistics, all of them unless a part is named';
  static override args = {
    what: Args.string({ description: 'the part', options: [...STATS] }),
  };
  static override flags = { json: jsonFlag };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(Stats);
    const what = args.what as StatsName | undefined;
    const { sections } = await this.ask(flags, 'stats', what === undefined ? {} : { what });
    if (flags.json) {
      const parts = sections.map(({ name, values }) => [name, values]);
      return writeLine(JSON.stringify(Object.fromEntries(parts)));
    }
    for (const { name, values } of sections) {
      const rows = Object.entries(values).map(([key, value]) => [
        `  ${plain(key).replaceAll('_', ' ')}`,
        typeof value === 'number' ? count(value) : plain(value),
      ]);
      await writeLine([`${name}:`, ...columns(rows)].join('\n'));
    }
  }
}
