// Talk between the nodes, asked for by hand.
import * as Flags from '@oclif/core/flags';
import type { VerifiedPeer, VerifyOutcome } from '../../daemon/control/protocol.js';
import { jsonFlag, Splicectl } from '../base.js';
import { writeLine } from '../output.js';
import { columns, count, counted, plain } from '../words.js';

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
    await writeLine(
      records === null
        ? 'all that the kernel holds is on its way to the other nodes'
        : `${counted(records, 'splice')} on their way to the other nodes`,
    );
  }
}

export class Verify extends Splicectl {
  static override summary = 'compare what the other nodes hold with what this node owns';
  static override flags = {
    json: jsonFlag,
    repair: Flags.boolean({ description: 'say again what differs' }),
  };

  async run(): Promise<void> {
    const { flags } = await this.parse(Verify);
    const { peers } = await this.ask(flags, 'verify', { repair: flags.repair ? 'yes' : 'no' });
    await writeLine(flags.json ? JSON.stringify({ peers }) : verdict(peers));
    const well = ({ outcome }: VerifiedPeer): boolean =>
      outcome === 'equal' || outcome === 'repaired';
    if (peers.length === 0 || !peers.every(well)) process.exitCode = 1;
  }
}

const OUTCOMES: Readonly<Record<VerifyOutcome, string>> = {
  equal: 'equal',
  repaired: 'repaired',
  differs: 'DIFFERS: splicectl verify --repair',
  full: 'DIFFERS: it has no room; raise its HashLimit',
  unsure: 'UNKNOWN: too much changes; try again later',
  'no-answer': 'NO ANSWER',
  version: 'UNKNOWN: it runs an earlier version of spliced',
  uncached: 'UNKNOWN: this node keeps no internal cache',
};

function verdict(peers: readonly VerifiedPeer[]): string {
  if (peers.length === 0) return 'no other node is alive';
  const rows = peers.map(({ name, records, differed, repaired, outcome }) => [
    plain(name),
    count(records),
    count(differed),
    count(repaired),
    OUTCOMES[outcome] ?? plain(outcome),
  ]);
  return columns([['PEER', 'HOLDS', 'DIFFERED', 'REPAIRED', 'RESULT'], ...rows]).join('\n');
}
