// The other side of a handover: a peer that has the addresses asks this node to take over its splices,
// and then to take the addresses.
import type { OfferRefusal, OfferTaken, OfferWhat, PeerInfo, SyncEngine } from '../sync/api.js';
import { pause } from './breath.js';
import type { FailoverSettings } from './config.js';
import type { Handover } from './handover.js';
import { handoverCommand } from './handover-command.js';
import type { Log } from './log.js';
import type { Ownership } from './ownership.js';
import type { AddressWatch } from './watch.js';

/** A little less than the other side waits: it shall hear why. */
const ADDRESSES_MS_MAX = 12_000;
/** A command that has failed may have done its work all the same. */
const TROUBLE_MS = 500;
const LOOK_MS = 2;

export interface RecipientParts {
  readonly sync: SyncEngine;
  readonly ownership: Ownership;
  readonly handover: Handover;
  readonly watch: AddressWatch;
  readonly log: Log;
  readonly failover: () => FailoverSettings;
  /** What the peers own is known since this start. */
  readonly caughtUp: () => boolean;
  readonly stopping: () => boolean;
}

export class Recipient {
  constructor(private readonly parts: RecipientParts) {}

  offered(peer: PeerInfo, what: OfferWhat, answer: (taken: OfferTaken) => void): void {
    const { log } = this.parts;
    const taking = what === 'splices' ? this.splices(peer) : this.addresses(peer);
    taking.then(
      (taken) => {
        if (taken.outcome === 'taken') log.info({ peer: peer.name, what, ...taken }, 'offer taken');
        else log.warn({ peer: peer.name, what, ...taken }, 'offer refused');
        answer(taken);
      },
      (error: Error) => {
        log.error({ peer: peer.name, what, error: error.message }, 'offer not taken');
        answer({ outcome: 'refused', why: 'failed' });
      },
    );
  }

  private async splices(peer: PeerInfo): Promise<OfferTaken> {
    const why = this.refusal();
    if (why) return { outcome: 'refused', why };
    const { committed, refused, epoch } = await this.parts.ownership.commit('handover', peer.name);
    // what this kernel has no room for would be lost with the addresses
    if (Object.keys(refused).length > 0) return { outcome: 'refused', why: 'failed' };
    return { outcome: 'taken', entries: committed, epoch };
  }

  private async addresses(peer: PeerInfo): Promise<OfferTaken> {
    const { watch, failover, log, ownership, sync } = this.parts;
    const { virtualAddresses } = failover();
    const trouble = await handoverCommand(failover(), 'take', peer.name, log);
    const patience = trouble === undefined ? ADDRESSES_MS_MAX : TROUBLE_MS;
    const deadline = performance.now() + patience;
    while (virtualAddresses.length > 0 && watch.here.length === 0) {
      if (this.parts.stopping()) return { outcome: 'refused', why: 'busy' };
      if (performance.now() > deadline) return { outcome: 'refused', why: 'failed' };
      await pause(LOOK_MS);
    }
    await ownership.idle();
    return { outcome: 'taken', entries: sync.internal.size, epoch: sync.epoch };
  }

  private refusal(): OfferRefusal | undefined {
    const { handover, watch, sync, ownership, caughtUp, stopping } = this.parts;
    if (stopping() || handover.active) return 'busy';
    if (ownership.role === 'fault') return 'fault';
    if (watch.here.length > 0) return 'has-address';
    return caughtUp() && sync.inSync ? undefined : 'not-in-sync';
  }
}
