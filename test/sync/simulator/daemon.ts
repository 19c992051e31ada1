/**
 * One life of the daemon: the real replication, and around it what daemon/{follower,ownership,daemon}.ts
 * do with it, without their I/O.
 */
import {
  EVENT_SIZE,
  EventOffset,
  EventType,
  Flag,
  RECORD_SIZE,
  RecordOffset,
} from '../../../kernel/record/layout.js';
import type { NoticeCode, SyncOptions } from '../../../sync/api.js';
import { Sync } from '../../../sync/engine.js';
import type { Clock, Random, Timer } from '../../../sync/ports.js';
import { isHeld } from './kernel.js';
import { type Carried, carry } from './link.js';
import type { Machine } from './machine.js';
import type { Parcel } from './network.js';

/** As daemon/follower.ts. */
const AFTER_LOSS_MS = 100;
/** As kernel/ring.ts. */
const LOSS_CHECK_MS = 1000;
/** As daemon/ownership.ts. */
const RECLAIM_MS = 300;
const RECLAIM_MS_MAX = 10_000;
const PEACE_MS = 30_000;
/** PurgeTimeout. */
const PURGE_MS = 4000;
/** As daemon/daemon.ts. */
const CAUGHT_UP_LOOK_MS = 50;
/** FenceTimeout. */
const FENCE_MS = 30;

export type DaemonSettings = Partial<
  Omit<SyncOptions, 'node' | 'name' | 'incarnation' | 'clock' | 'random' | 'link' | 'events'>
> & { readonly mtu: number; readonly paths: number; readonly sealed: boolean };

export class Daemon {
  readonly engine: Sync;
  readonly notices: NoticeCode[] = [];
  /** Under which it sends at present: a peer may have raised it. */
  incarnation: number;
  readonly startedAt: number;
  role: 'undecided' | 'primary' | 'backup' = 'undecided';
  /** Resyncs and commits that have not come to their end. */
  busy = 0;
  /** DisableExternalCache. */
  readonly hot: boolean;
  /** It says what it stands for, and hears what others do. */
  readonly speaks: boolean;
  /** As daemon/takeover.ts: it serves since its last takeover. */
  #stands = false;
  readonly #carried: Carried;
  #dead = false;
  #owning = true;
  #behind = false;
  #lossPending = false;
  #reading: Timer | undefined;
  #lostTold: number;
  #caughtUp = false;
  #resyncs: (() => void)[] = [];
  #commits: (() => void)[] = [];
  #claims = 0;
  #reclaim: Timer | undefined;
  #reclaimMs = RECLAIM_MS;
  #contestedAt = Number.NEGATIVE_INFINITY;

  constructor(
    readonly machine: Machine,
    settings: DaemonSettings,
    incarnation: bigint,
  ) {
    const { scheduler } = machine.around;
    const { mtu, paths, sealed, ...options } = settings;
    const clock: Clock = {
      now: () => scheduler.now + machine.id,
      after: (ms, fn) => machine.turn(ms, fn),
    };
    const random: Random = { u32: () => machine.dice.u32() };
    this.#carried = carry({ daemon: this, machine, mtu, paths, sealed, clock, random });
    this.hot = settings.disableExternalCache === true;
    this.startedAt = scheduler.now;
    this.incarnation = Number(incarnation);
    this.#lostTold = machine.kernel.watch();
    this.speaks = (settings.versionMax ?? 2) > 1;
    this.engine = new Sync({
      ...options,
      node: machine.id,
      name: machine.name,
      incarnation,
      epoch: machine.kernel.epoch,
      clock,
      random,
      link: this.#carried.link,
      yielded: machine.hasAddress && !machine.kernel.answers,
      events: {
        yield: (to, epoch) => this.#yield(to.name, epoch),
        unclaimed: () => this.#unclaimed(),
        demoted: (records) => {
          machine.kernel.demote(records, PURGE_MS);
          this.#lost();
        },
        ended: (records) => {
          machine.kernel.delete(records);
          this.#lost();
        },
        standby: (records) => this.#held(records),
        standbyGone: (records) => machine.kernel.delete(records, true),
        syncChanged: (inSync) => {
          this.#caughtUp ||= inSync;
          this.#trace(() => (inSync ? 'is in sync' : 'is not in sync any more'));
        },
        peerChanged: (peer, change) => {
          this.#count(`peer ${change}`);
          this.#trace(() => `finds ${peer.name} ${change} (${peer.records} records)`);
          if (change === 'in-sync' && this.hot) this.#reconcile(peer.node);
        },
        epochChanged: (epoch) => {
          machine.kernel.epoch = epoch;
        },
        notice: (code, message) => {
          this.notices.push(code);
          this.#count(`notice ${code}`);
          this.#trace(() => `${code}: ${message}`);
        },
      },
    });
  }

  /** This node is the one that packets reach, as far as it has been told. */
  get owning(): boolean {
    return this.#owning;
  }

  get alive(): boolean {
    return !this.#dead;
  }

  start(): void {
    this.#trace(() => `starts its daemon, incarnation ${this.incarnation}`);
    this.#lossCheck();
    const yielded = this.engine.fence().yieldedTo !== undefined;
    if (!yielded) this.machine.kernel.answers = true;
    this.#stands = this.machine.hasAddress && !yielded;
    this.#place();
    this.resync('start', () => {
      this.engine.start();
      this.#caughtUp ||= this.engine.inSync;
      if (this.machine.hasAddress) this.#commitForAddress();
    });
  }

  /** It ends as kill -9 ends it. */
  die(): void {
    this.#dead = true;
  }

  /** It ends as it should: it says good-bye. */
  stop(): void {
    this.machine.guarded(() => this.engine.stop());
  }

  receive(parcel: Parcel): void {
    const { watcher } = this.machine.around;
    const after = watcher.receiving(this, parcel);
    this.machine.guarded(() => {
      const unsealed = this.#carried.receive(parcel.bytes, parcel.path);
      if (unsealed) watcher.unsealed(this, parcel);
    });
    after?.();
    watcher.touched(this);
  }

  /** There is something in the kernel's ring. */
  readable(): void {
    if (this.#dead || this.#reading) return;
    this.#reading = this.machine.turn(this.machine.dice.part() * 2, () => {
      this.#reading = undefined;
      this.readRing();
    });
  }

  readRing(): void {
    const { events, count, lost } = this.machine.kernel.read(this.#lostTold);
    this.#lostTold += lost;
    if (count > 0) this.#local(this.#owning ? events : this.#withoutEnds(events, count));
    if (lost > 0) this.#missed();
    if (this.machine.kernel.ring.waiting > 0) this.readable();
  }

  /** The internal cache anew from the kernel table, a chunk a turn. One at a time. */
  resync(why: string, done: () => void = () => {}): void {
    this.busy++;
    this.#resyncs.push(() => this.#readTable(why, done));
    if (this.#resyncs.length === 1) this.#resyncs[0]();
  }

  /** VRRP has moved the address here, or away. */
  addressChanged(here: boolean): void {
    if (!here) {
      this.#stands = false;
      this.machine.kernel.answers = true;
    }
    this.#place();
    if (here) this.#commitForAddress();
    else if (this.role === 'primary') this.setRole('backup');
  }

  setRole(role: 'primary' | 'backup'): void {
    this.#take(role);
    if (role === 'primary') this.#setOwning(true);
    else this.#owning = false;
  }

  commit(): void {
    this.busy++;
    this.#commits.push(() => this.#commitNow());
    if (this.#commits.length === 1) this.machine.turn(0, () => this.#commits[0]());
  }

  #commitForAddress(): void {
    if (this.#dead || !this.machine.hasAddress) return;
    if (this.engine.fence().yieldedTo !== undefined) return;
    if (this.#caughtUp) this.commit();
    else this.machine.turn(CAUGHT_UP_LOOK_MS, () => this.#commitForAddress());
  }

  #commitNow(): void {
    this.#take('primary');
    if (!this.#stands) this.machine.kernel.answers = false;
    this.engine.claim();
    this.machine.drain();
    this.readRing();
    this.#count('commits');
    const judge = this.machine.around.watcher.committing(this);
    if (this.hot) {
      this.#owning = true;
      this.#claim(judge);
      this.#committed();
      return;
    }
    this.#putIn(
      false,
      () => true,
      (ours) => {
        this.#setOwning(true);
        this.#trace(() => `has committed ${ours}, epoch ${this.engine.epoch}`);
        judge();
        this.#committed();
      },
    );
  }

  #committed(): void {
    this.engine.settle(FENCE_MS, (outcome) => {
      this.#answer();
      this.machine.around.watcher.fenced(this, outcome);
      this.busy--;
      this.#commits.shift();
      this.#commits[0]?.();
    });
  }

  /** As daemon/claims.ts: in the background, in place of those that may be under way. */
  #claim(judge: () => void): void {
    const number = ++this.#claims;
    const goesOn = (): boolean => number === this.#claims;
    this.busy++;
    const end = (): void => {
      this.busy--;
      if (!goesOn()) this.#count('claims cut short');
    };
    this.#putIn(true, goesOn, (held) => {
      if (!goesOn()) return end();
      this.readRing();
      this.#putIn(false, goesOn, (rest) => {
        const orphans = goesOn() ? this.#orphans() : 0;
        if (!goesOn()) return end();
        this.#setOwning(true);
        const { epoch } = this.engine;
        this.#trace(() => `has claimed ${held}, ${rest} and ${orphans}, epoch ${epoch}`);
        this.#count('claims made');
        if (orphans > 0) this.#count('orphans claimed');
        judge();
        end();
      });
    });
  }

  /** A plan into the kernel, a chunk or some a turn. */
  #putIn(known: boolean, goesOn: () => boolean, done: (ours: number) => void): void {
    const { machine, engine } = this;
    const plan = engine.plan();
    let ours = 0;
    const goOn = (): void => {
      while (goesOn()) {
        const { value: chunk, done: over } = plan.next();
        if (over || !chunk) break;
        ours += engine.committed(chunk, machine.kernel.insert(chunk, known));
        machine.around.watcher.touched(this);
        if (!machine.dice.chance(0.5)) continue;
        machine.turn(this.hot ? machine.dice.part() * 20 : 0, goOn);
        return;
      }
      done(ours);
    };
    if (known) machine.turn(machine.dice.part() * 20, goOn);
    else goOn();
  }

  #orphans(): number {
    const { machine, engine } = this;
    let ours = 0;
    for (const chunk of machine.kernel.dump()) {
      const orphans = engine.orphans(chunk);
      if (orphans.length === 0) continue;
      ours += engine.committed(orphans, machine.kernel.insert(orphans, true));
      machine.around.watcher.touched(this);
    }
    return ours;
  }

  #answer(): void {
    this.#stands = this.engine.fence().stands;
    if (!this.#stands) {
      this.#owning = false;
      return;
    }
    this.machine.kernel.answers = true;
    this.engine.stand();
  }

  #yield(to: string, epoch: number): void {
    const { machine } = this;
    this.#reclaim?.cancel();
    this.#stands = false;
    if (machine.hasAddress) machine.kernel.answers = false;
    this.#owning = false;
    this.#count('yields');
    this.#trace(() => `yields to ${to}, epoch ${epoch}`);
  }

  #unclaimed(): void {
    this.#count('addresses that nobody answered for');
    this.#trace(() => 'takes over: nobody stands for the address');
    this.commit();
  }

  #place(): void {
    this.engine.place({ role: this.role, holds: this.machine.hasAddress });
  }

  #setOwning(owning: boolean): void {
    this.#owning = owning;
    if (owning && this.#behind) this.resync('what ended while not the owner');
  }

  #take(role: 'primary' | 'backup'): void {
    if (role !== 'primary') {
      this.#reclaim?.cancel();
      this.#claims++;
    }
    this.role = role;
    this.#place();
  }

  #local(events: Uint8Array): void {
    const { watcher } = this.machine.around;
    const ends = endsIn(events);
    const after = ends.length > 0 ? watcher.ending(this, ends) : undefined;
    this.engine.local(events);
    after?.();
    watcher.touched(this);
  }

  #withoutEnds(events: Uint8Array, count: number): Uint8Array {
    const view = new DataView(events.buffer);
    let kept = 0;
    for (let i = 0; i < count; i++) {
      const from = i * EVENT_SIZE;
      if (view.getUint32(from + EventOffset.type, true) === EventType.DESTROY) {
        const flags = view.getUint16(from + EventOffset.record + RecordOffset.flags, true);
        if (flags & Flag.STANDBY) continue;
        this.#behind = true;
        this.#count('ends held back');
        continue;
      }
      events.copyWithin(kept, from, from + EVENT_SIZE);
      kept += EVENT_SIZE;
    }
    return events.subarray(0, kept);
  }

  #missed(): void {
    if (this.#lossPending) return;
    this.#lossPending = true;
    this.machine.turn(AFTER_LOSS_MS, () => {
      this.#lossPending = false;
      this.resync('lost events');
    });
  }

  #lossCheck(): void {
    this.machine.turn(LOSS_CHECK_MS, () => {
      this.readRing();
      this.#lossCheck();
    });
  }

  #readTable(why: string, done: () => void): void {
    const { machine, engine } = this;
    this.#behind = false;
    this.#count('resyncs');
    engine.resyncBegin();
    const dump = machine.kernel.dump();
    const goOn = (): void => {
      for (;;) {
        const { value: chunk } = dump.next();
        if (!chunk) break;
        engine.resyncRecords(chunk);
        machine.around.watcher.touched(this);
        if (!machine.dice.chance(0.5)) continue;
        machine.turn(machine.dice.part(), goOn);
        return;
      }
      const after = machine.around.watcher.withdrawing(this);
      // what is not there any more where no packets arrive has aged
      this.#behind ||= !this.#owning;
      const { inserted, updated, deleted } = engine.resyncEnd(this.#owning);
      after();
      machine.around.watcher.touched(this);
      this.#trace(() => `resync (${why}): ${inserted} new, ${updated} changed, ${deleted} gone`);
      done();
      this.busy--;
      this.#resyncs.shift();
      this.#resyncs[0]?.();
    };
    goOn();
  }

  /** Peers own these. */
  #held(records: Uint8Array): void {
    const copy = records.slice();
    const view = new DataView(copy.buffer);
    for (let at = RecordOffset.flags; at < copy.length; at += RECORD_SIZE) {
      view.setUint16(at, view.getUint16(at, true) | Flag.STANDBY, true);
    }
    this.machine.kernel.insert(copy);
  }

  /** Of that peer all is known now: what is held for it beyond that is nobody's. */
  #reconcile(node: number): void {
    const { kernel } = this.machine;
    for (const entry of [...kernel.entries.values()]) {
      if (!isHeld(entry) || entry.record.owner !== node) continue;
      const slot = this.engine.external.get(node)?.slotOf(entry.record.bytes) ?? -1;
      if (slot < 0) kernel.remove(entry, false);
    }
  }

  #lost(): void {
    const { machine } = this;
    this.#count('demotions');
    if (this.role !== 'primary' || !machine.hasAddress) return;
    if (this.engine.fence().yieldedTo !== undefined) return;
    if (this.engine.peers().every((peer) => !peer.alive || peer.place !== undefined)) return;
    // a peer of the first version thinks itself active: whoever has the address when that is over
    // takes all back
    const { now } = machine.around.scheduler;
    if (now - this.#contestedAt > PEACE_MS) this.#reclaimMs = RECLAIM_MS;
    this.#contestedAt = now;
    this.#reclaim?.cancel();
    this.#reclaim = machine.turn(this.#reclaimMs, () => {
      if (this.role !== 'primary' || !machine.hasAddress) return;
      this.#reclaimMs = Math.min(2 * this.#reclaimMs, RECLAIM_MS_MAX);
      this.#count('reclaims');
      this.commit();
    });
  }

  #count(what: string): void {
    this.machine.around.count(what);
  }

  #trace(line: () => string): void {
    this.machine.around.trace(() => `${this.machine.name} ${line()}`);
  }
}

/** Identities of the splices whose ends are among these events. */
function endsIn(events: Uint8Array): Uint8Array[] {
  const view = new DataView(events.buffer, events.byteOffset, events.byteLength);
  const ends: Uint8Array[] = [];
  for (let at = 0; at < events.length; at += EVENT_SIZE) {
    if (view.getUint32(at + EventOffset.type, true) !== EventType.DESTROY) continue;
    ends.push(events.subarray(at + EventOffset.record, at + EVENT_SIZE));
  }
  return ends;
}
