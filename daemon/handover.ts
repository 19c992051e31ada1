// A planned move of the addresses to the peer, in an order in which nothing breaks and nothing stalls:
//
//   settle     no new connections: their SYNs are dropped, and come again to the next owner. What the
//              proxy still holds in user space is spliced or ends, and the peer acknowledges every record
//   splices    the peer takes over, while the addresses are still here: from now on both kernels
//              translate every splice, and it does not matter which of them gets a packet
//   let go     the track file (keepalived goes to FAULT and sends priority 0), or HandoverCommand
//   addresses  the peer has them: back to normal, so that this node can take over again
//
// Until the addresses are gone it can be undone, and is when anything fails: this node takes the splices
// back, and no connection has noticed.
import type { OfferAnswer, OfferRefusal, OfferWhat, PeerInfo, SyncEngine } from '../sync/api.js';
import { pause } from './breath.js';
import type { FailoverSettings } from './config.js';
import type { HandoverResult } from './control/protocol.js';
import type { Draining } from './draining.js';
import { DaemonError } from './error.js';
import { handoverCommand } from './handover-command.js';
import type { Log } from './log.js';
import type { Ownership } from './ownership.js';
import { socketsOn } from './sockets.js';
import type { TrackFile } from './track.js';
import type { AddressWatch } from './watch.js';

/** Without fewer flows left for so long, the rest (an idle keep-alive connection) is not waited for. */
const STANDSTILL_MS_MAX = 5000;
const SETTLE_MS_MAX = 15_000;
/** The peer's commit of a full table on a busy machine. */
const SPLICES_MS_MAX = 20_000;
const LET_GO_MS_MAX = 10_000;
const TROUBLE_MS = 200;
/** VRRP's interval may be long: a few of them. */
const ADDRESSES_MS_MAX = 15_000;
const LOOK_MS = 5;

export interface HandoverParts {
  readonly draining: Draining;
  readonly sync: SyncEngine;
  readonly ownership: Ownership;
  readonly track: TrackFile;
  readonly watch: AddressWatch;
  readonly log: Log;
  readonly failover: () => FailoverSettings;
  /** Writes what the track file says in normal times. */
  readonly restoreTrack: () => void;
}

/** Told of each step as it is taken. */
export type Progress = (sentence: string) => Promise<void>;

export class Handover {
  readonly counters = { handovers: 0, handovers_failed: 0 };
  private running = false;
  private drain = false;

  constructor(private readonly parts: HandoverParts) {}

  get active(): boolean {
    return this.running;
  }

  get draining(): boolean {
    return this.drain;
  }

  /**
   * Resolves when the peer has the addresses. Throws DaemonError: then they are here, or nobody's yet.
   * @param gone called at the moment when they are gone from here
   */
  async run(progress: Progress, gone: () => void = () => {}): Promise<HandoverResult> {
    const peer = this.recipient();
    const step = stepClock();
    this.running = true;
    this.parts.ownership.holdBack(true);
    try {
      const left = await this.settle(progress);
      step('settle_ms');
      const entries = await this.giveSplices(peer, progress);
      step('splices_ms');
      await this.letGo(peer, progress, gone);
      step('let_go_ms');
      await this.giveAddresses(peer, entries !== null, progress);
      step('addresses_ms');
      const result = { peer: peer?.name ?? null, entries, left, ...step.times() };
      this.counters.handovers++;
      this.parts.log.info(result, 'handed over');
      return result;
    } catch (error) {
      this.counters.handovers_failed++;
      await this.takeBack(error as Error);
      throw error;
    } finally {
      this.setDraining(false);
      this.parts.ownership.holdBack(false);
      this.parts.restoreTrack();
      this.running = false;
    }
  }

  /** Whom the addresses will go to; undefined: one of several, which VRRP chooses. Throws DaemonError. */
  recipient(): PeerInfo | undefined {
    const { track, watch, sync, failover } = this.parts;
    if (this.running) throw new DaemonError('BUSY', 'a handover is under way already');
    if (!track.configured && failover().handoverCommand.length === 0) {
      throw new DaemonError(
        'NOT_OWNER',
        'nobody can be told to let go of the addresses: set TrackFile in Failover, and track_file in keepalived.conf; or HandoverCommand, for ucarp and everything else',
      );
    }
    if (watch.here.length === 0) {
      throw new DaemonError('NOT_OWNER', 'this node has none of the virtual addresses');
    }
    const live = sync.peers().filter((peer) => peer.alive);
    if (live.length === 0) {
      throw new DaemonError('NO_PEER', 'no peer is alive: nobody would take the addresses over');
    }
    const behind = live.filter((peer) => !peer.holdsAll).map((peer) => peer.name);
    if (behind.length > 0) {
      throw new DaemonError(
        'NOT_IN_SYNC',
        `${behind.join(', ')} does not have all that this node owns yet: wait until splicectl status says in sync`,
      );
    }
    return live.length === 1 ? live[0] : undefined;
  }

  private async settle(progress: Progress): Promise<HandoverResult['left']> {
    this.setDraining(true);
    await progress('new connections wait for the next owner');
    let fewest = Number.POSITIVE_INFINITY;
    let progressed = performance.now();
    await within(SETTLE_MS_MAX, async () => {
      const { sockets, unacknowledged } = await this.left();
      const now = performance.now();
      if (sockets + unacknowledged < fewest) {
        fewest = sockets + unacknowledged;
        progressed = now;
      }
      return fewest === 0 || now - progressed > STANDSTILL_MS_MAX;
    });
    if (fewest === 0) {
      await progress('every flow is spliced, and the peer has all of them');
      return { sockets: 0, unacknowledged: 0 };
    }
    const rest = await this.left();
    this.parts.log.warn(
      rest,
      'handover: what is left in user space, or not acknowledged, will break',
    );
    await progress(
      `still ${rest.sockets} sockets and ${rest.unacknowledged} unacknowledged records, and no fewer: they will break`,
    );
    return rest;
  }

  /** Connections that this node's user space still has a hand in, and records that no peer has. */
  private async left(): Promise<HandoverResult['left']> {
    const { sync, watch } = this.parts;
    return { sockets: await socketsOn(watch.here), unacknowledged: sync.unacknowledged() };
  }

  /** null: they are not taken before the address comes. Throws DaemonError. */
  private async giveSplices(
    peer: PeerInfo | undefined,
    progress: Progress,
  ): Promise<number | null> {
    if (!peer) {
      await progress(
        'there are several peers: the one that VRRP chooses takes over when it is there',
      );
      return null;
    }
    if (!peer.place) {
      await progress(
        `${peer.name} runs an earlier version: it takes over when the addresses have come, and packets wait for that`,
      );
      return null;
    }
    const answer = await this.offer(peer, 'splices', SPLICES_MS_MAX);
    if (answer?.outcome !== 'taken') {
      throw new DaemonError('NO_PEER', `${peer.name} ${refusedBecause(answer, SPLICES_MS_MAX)}`);
    }
    await progress(
      `${peer.name} has taken over ${answer.entries} splices; both nodes translate them`,
    );
    return answer.entries;
  }

  private async letGo(
    peer: PeerInfo | undefined,
    progress: Progress,
    told: () => void,
  ): Promise<void> {
    const { track, watch, ownership } = this.parts;
    track.write('handover');
    const trouble = await this.command('give', peer);
    // a command that has failed may have done its work all the same
    const patience = trouble === undefined ? LET_GO_MS_MAX : TROUBLE_MS;
    const gone = await within(patience, () => watch.here.length === 0);
    if (!gone) {
      throw new DaemonError(
        'NO_PEER',
        trouble ??
          (this.parts.failover().handoverCommand.length === 0
            ? `keepalived has not let go of the addresses within ${LET_GO_MS_MAX / 1000} s: has its instance a track_file statement for TrackFile?`
            : `HandoverCommand was done, and the addresses are still here after ${LET_GO_MS_MAX / 1000} s: does it take them away when it is run with "give"?`),
      );
    }
    told();
    await ownership.setRole('backup');
    this.setDraining(false);
    await progress('the addresses are gone from this node');
  }

  /** Only when the peer has them may keepalived think well of this node again: it could take them back. */
  private async giveAddresses(
    peer: PeerInfo | undefined,
    offered: boolean,
    progress: Progress,
  ): Promise<void> {
    const { sync } = this.parts;
    if (!peer || !offered) {
      const taken = await within(ADDRESSES_MS_MAX, () => sync.internal.size === 0);
      await progress(
        taken
          ? 'the peer owns every flow'
          : `${sync.internal.size} flows have not been taken over within ${ADDRESSES_MS_MAX / 1000} s`,
      );
      return;
    }
    const answer = await this.offer(peer, 'addresses', ADDRESSES_MS_MAX);
    if (answer?.outcome === 'taken') {
      await progress(`${peer.name} has the addresses`);
      return;
    }
    await this.command('take', peer);
    throw new DaemonError(
      'NO_PEER',
      `the addresses are gone from this node, and ${peer.name} ${refusedBecause(answer, ADDRESSES_MS_MAX)}: look at its log, and at its failover manager's; this node may take them again`,
    );
  }

  /** undefined: no answer within that time. */
  private offer(peer: PeerInfo, what: OfferWhat, ms: number): Promise<OfferAnswer | undefined> {
    return new Promise((resolve) => {
      const withdraw = this.parts.sync.offer(peer.node, what, (answer) => {
        clearTimeout(timer);
        resolve(answer);
      });
      const timer = setTimeout(() => {
        withdraw();
        resolve(undefined);
      }, ms);
    });
  }

  /** @returns what went wrong */
  private command(what: 'give' | 'take', peer?: PeerInfo): Promise<string | undefined> {
    return handoverCommand(this.parts.failover(), what, peer?.name ?? '-', this.parts.log);
  }

  /** What the peer has taken already is this node's again, if the addresses are. */
  private async takeBack(error: Error): Promise<void> {
    const { watch, ownership, log } = this.parts;
    log.error(error.message);
    if (watch.here.length > 0) await ownership.commit('taken-back');
  }

  private setDraining(on: boolean): void {
    this.drain = on;
    this.parts.draining.set('handover', on);
  }
}

const REFUSALS: Readonly<Record<OfferRefusal, string>> = {
  failed: 'has tried to take over and has not succeeded: see its log',
  busy: 'is handing over or stopping itself',
  'not-in-sync': 'is not in sync: wait until splicectl status there says so',
  fault: 'is in fault: see the log of its failover manager',
  'has-address': 'has a virtual address already: look at its failover manager',
};

function refusedBecause(answer: OfferAnswer | undefined, ms: number): string {
  if (answer?.outcome === 'refused') return REFUSALS[answer.why];
  if (answer?.outcome === 'dead') return 'has died meanwhile';
  if (answer?.outcome === 'no-answer') return 'does not answer any more';
  return `has not taken over within ${ms / 1000} s`;
}

/** How long each step took, in milliseconds with one decimal. */
function stepClock() {
  const began = performance.now();
  let last = began;
  const taken: Record<string, number> = {};
  const since = (then: number, now: number): number => Math.round((now - then) * 10) / 10;
  const step = (name: string): void => {
    const now = performance.now();
    taken[name] = since(last, now);
    last = now;
  };
  step.times = () => ({
    took_ms: since(began, last),
    steps: taken as unknown as HandoverResult['steps'],
  });
  return step;
}

async function within(ms: number, holds: () => boolean | Promise<boolean>): Promise<boolean> {
  const deadline = performance.now() + ms;
  while (!(await holds())) {
    if (performance.now() > deadline) return false;
    await pause(LOOK_MS);
  }
  return true;
}
