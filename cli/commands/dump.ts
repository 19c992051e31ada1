// A table, as it streams in: nothing of it is kept, so its size does not matter.
import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import { DUMPS, type DumpName } from '../../daemon/control/protocol.js';
import { type Filter, type FilterOptions, makeFilter } from '../../kernel/record/filter.js';
import { RENDERINGS, type RenderingName, renderRecords } from '../../kernel/record/render.js';
import type { NodeNames } from '../../kernel/record/rendering.js';
import { Splicectl } from '../base.js';
import { UsageError } from '../error.js';
import { write } from '../output.js';

function filterFlag(description: string, helpValue: string) {
  return Flags.string({ description, helpValue, helpGroup: 'FILTER' });
}

export class Dump extends Splicectl {
  static override summary = "[-i, -e] this node's cache, the peers' entries, or the kernel table";
  static override args = {
    what: Args.string({ description: 'the table', options: [...DUMPS], required: true }),
  };
  static override flags = {
    xml: Flags.boolean({ char: 'x', description: 'as XML (docs/spliced.xsd)' }),
    json: Flags.boolean({ description: 'as JSON, one object a line', exclusive: ['xml'] }),
    src: filterFlag('client', 'ADDRESS[/PREFIX]'),
    dst: filterFlag('virtual server', 'ADDRESS[/PREFIX]'),
    sport: filterFlag("client's port", 'PORT'),
    dport: filterFlag("virtual server's port", 'PORT'),
    state: filterFlag('state of the splice or of one leg', 'STATE'),
    service: filterFlag('virtual or real server', 'ADDRESS:PORT'),
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(Dump);
    const filter = filterOf(flags);
    const name: RenderingName = flags.xml ? 'xml' : flags.json ? 'json' : 'text';
    const rendering = RENDERINGS[name];
    let names: NodeNames = new Map();
    const show = async (bytes: Uint8Array, counted: boolean): Promise<void> => {
      const options = { names, filter, counted };
      for (const piece of renderRecords(rendering, bytes, options)) await write(piece);
    };
    await this.ask(
      flags,
      'dump',
      { what: args.what as DumpName },
      {
        hello: ({ nodes }) => {
          names = new Map(Object.entries(nodes).map(([id, node]) => [Number(id), node]));
          return write(rendering.head(args.what === 'kernel'));
        },
        records: (bytes) => show(bytes, false),
        counted: (bytes) => show(bytes, true),
      },
    );
    await write(rendering.tail);
  }
}

function filterOf(options: FilterOptions): Filter | undefined {
  try {
    return makeFilter(options);
  } catch (error) {
    if (error instanceof RangeError) throw new UsageError(error.message);
    throw error;
  }
}
