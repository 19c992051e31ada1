// The caches: into the kernel, emptied, filled again.
import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import { CACHES, type CacheName } from '../../daemon/control/protocol.js';
import { Splicectl } from '../base.js';
import { writeLine } from '../output.js';
import { counted, span } from '../words.js';

export class Commit extends Splicectl {
  static override summary =
    '[-c] put the external cache into the kernel; its splices are ours then';
  static override flags = {
    node: Flags.string({ description: 'only what this peer owned', helpValue: 'NAME' }),
    'if-here': Flags.boolean({
      description: 'not when the virtual addresses are on another node (a late script)',
    }),
  };

  async run(): Promise<void> {
    const { flags } = await this.parse(Commit);
    const here = flags['if-here'] ? ({ here: 'yes' } as const) : {};
    const args = flags.node === undefined ? here : { ...here, node: flags.node };
    const result = await this.ask(flags, 'commit', args);
    const { committed, claiming, refused, epoch, took_ms } = result;
    if (claiming > 0) {
      const held = counted(claiming, 'splice');
      await writeLine(
        `taken over in ${span(took_ms)}, epoch ${epoch}: ${held} translated, and claimed in the background`,
      );
      return;
    }
    const rest = Object.entries(refused).map(([reason, n]) => `, ${n} ${reason}`);
    const what = counted(committed, 'splice');
    await writeLine(`${what} committed in ${span(took_ms)}, epoch ${epoch}${rest.join('')}`);
  }
}

export class Flush extends Splicectl {
  static override summary = '[-f] empty the caches, both of them unless one is named';
  static override args = {
    cache: Args.string({ description: 'the cache to empty', options: [...CACHES] }),
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(Flush);
    const cache = args.cache as CacheName | undefined;
    const removed = await this.ask(flags, 'flush', cache === undefined ? {} : { cache });
    for (const name of CACHES) {
      if (cache !== undefined && cache !== name) continue;
      await writeLine(
        `${counted(removed[name], 'entry', 'entries')} removed from the ${name} cache`,
      );
    }
  }
}

export class Resync extends Splicectl {
  static override summary = '[-R] read the internal cache anew from the kernel table';

  async run(): Promise<void> {
    const { flags } = await this.parse(Resync);
    const { records } = await this.ask(flags, 'resync', {});
    await writeLine(
      records === null
        ? 'no internal cache is kept: what the kernel holds is on its way to the other nodes'
        : `${counted(records, 'splice')} of this node in the internal cache`,
    );
  }
}
