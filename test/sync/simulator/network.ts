/**
 * The links between the machines: for each pair, direction and path, whether it carries, and what it
 * does to what it carries. A datagram may be lost, doubled, late, damaged, cut short, or say again
 * after minutes what was true once.
 */
import type { Dice } from './dice.js';
import type { Said } from './said.js';
import type { Scheduler } from './scheduler.js';

/** Of one direction of one path between two machines. Parts of one, where no unit is named. */
export interface Conditions {
  loss: number;
  duplication: number;
  /** Delivered up to so many ms later than the rest: datagrams overtake each other. */
  jitterMs: number;
  /** Bits flipped. */
  corruption: number;
  truncation: number;
}

export const CLEAN: Readonly<Conditions> = {
  loss: 0,
  duplication: 0,
  jitterMs: 0,
  corruption: 0,
  truncation: 0,
};

/** A datagram under way. `whole`: as it was sent, so that a checker may know what it says. */
export interface Parcel {
  readonly from: Port;
  /** The same for all copies of one. */
  readonly id: number;
  readonly path: number;
  readonly sentAt: number;
  readonly bytes: Uint8Array;
  readonly whole: boolean;
  readonly said: Said | undefined;
}

/** A machine as the network sees it. */
export interface Port {
  readonly name: string;
  arrive(parcel: Parcel): void;
}

const LATENCY_MS = 0.1;
/** Old datagrams that may come once more. */
const ARCHIVE = 400;

export interface NetworkOptions {
  readonly scheduler: Scheduler;
  readonly dice: Dice;
  /** The protocol finds damage by itself. */
  readonly checked: boolean;
  count(what: string): void;
}

export class Network {
  readonly ports: Port[] = [];
  readonly #options: NetworkOptions;
  readonly #cut = new Set<string>();
  readonly #conditions = new Map<string, Conditions>();
  /** What the sender's queue takes, octets a millisecond; and how long it may get, in milliseconds. */
  readonly #rates = new Map<Port, { rate: number; queueMs: number; freeAt: number }>();
  readonly #archive: Parcel[] = [];
  #seen = 0;

  constructor(options: NetworkOptions) {
    this.#options = options;
  }

  /** False: the sender's own queue is full. */
  send(from: Port, bytes: Uint8Array, path: number, said?: Said): boolean {
    const { scheduler, count } = this.#options;
    const waits = this.#queued(from, bytes.length);
    if (waits < 0) {
      count('sender queue full');
      return false;
    }
    count('datagrams');
    const parcel: Parcel = {
      from,
      id: this.#seen,
      path,
      sentAt: scheduler.now,
      bytes: bytes.slice(),
      whole: true,
      said,
    };
    this.#keep(parcel);
    for (const to of this.ports) if (to !== from) this.#carry(parcel, to, waits);
    return true;
  }

  /** Something that was said earlier, perhaps long ago, comes once more: if `from` may be its sender. */
  replay(to: Port, datagrams: number, from: (sender: Port) => boolean): void {
    const { dice, count } = this.#options;
    for (let i = 0; i < datagrams && this.#archive.length > 0; i++) {
      const parcel = dice.pick(this.#archive);
      if (!from(parcel.from) || (parcel.from === to && dice.chance(0.9))) continue;
      count('replayed');
      to.arrive({ ...parcel, bytes: parcel.bytes.slice() });
    }
  }

  cut(from: Port, to: Port, path: number): void {
    this.#cut.add(key(from, to, path));
  }

  mend(from: Port, to: Port, path: number): void {
    this.#cut.delete(key(from, to, path));
  }

  carries(from: Port, to: Port, path: number): boolean {
    return !this.#cut.has(key(from, to, path));
  }

  conditions(from: Port, to: Port, path: number): Readonly<Conditions> {
    return this.#conditions.get(key(from, to, path)) ?? CLEAN;
  }

  setConditions(from: Port, to: Port, path: number, conditions: Conditions): void {
    this.#conditions.set(key(from, to, path), conditions);
  }

  /** The sender's interface takes so many octets a millisecond, and queues for so long. */
  narrow(from: Port, rate: number, queueMs: number): void {
    this.#rates.set(from, { rate, queueMs, freeAt: this.#options.scheduler.now });
  }

  /** Does some interface take less than it is given? */
  get narrowed(): boolean {
    return this.#rates.size > 0;
  }

  heal(): void {
    this.#cut.clear();
    this.#conditions.clear();
    this.#rates.clear();
  }

  #queued(from: Port, octets: number): number {
    const narrow = this.#rates.get(from);
    if (!narrow) return 0;
    const { now } = this.#options.scheduler;
    const waits = Math.max(0, narrow.freeAt - now);
    if (waits > narrow.queueMs) return -1;
    narrow.freeAt = now + waits + octets / narrow.rate;
    return waits;
  }

  #carry(parcel: Parcel, to: Port, waits: number): void {
    const { dice, count, scheduler } = this.#options;
    const line = key(parcel.from, to, parcel.path);
    if (this.#cut.has(line)) {
      count('cut off');
      return;
    }
    const { loss, duplication, jitterMs, corruption, truncation } =
      this.#conditions.get(line) ?? CLEAN;
    if (loss > 0 && dice.chance(loss)) {
      count('lost');
      return;
    }
    const copies = duplication > 0 && dice.chance(duplication) ? 2 : 1;
    if (copies > 1) count('doubled');
    for (let copy = 0; copy < copies; copy++) {
      let arriving: Parcel = parcel;
      if (truncation > 0 && dice.chance(truncation)) arriving = this.#cutShort(parcel);
      else if (corruption > 0 && dice.chance(corruption)) {
        // without a checksum of its own the protocol relies on that of UDP
        if (!this.#options.checked) {
          count('damaged, and dropped by UDP');
          continue;
        }
        arriving = this.#damaged(parcel);
      }
      const late = jitterMs > 0 ? dice.part() * jitterMs : 0;
      if (late > 1) count('late');
      scheduler.after(LATENCY_MS + waits + late, () => to.arrive(arriving));
    }
  }

  #cutShort(parcel: Parcel): Parcel {
    this.#options.count('cut short');
    const bytes = parcel.bytes.slice(0, this.#options.dice.below(parcel.bytes.length));
    return { ...parcel, bytes, whole: false };
  }

  #damaged(parcel: Parcel): Parcel {
    const { dice, count } = this.#options;
    count('damaged');
    const bytes = parcel.bytes.slice();
    const flips = 1 + dice.below(3);
    for (let flip = 0; flip < flips; flip++) {
      // the header more often than its share: that is where the mischief is
      const at = dice.chance(0.5)
        ? dice.below(Math.min(72, bytes.length))
        : dice.below(bytes.length);
      bytes[at] ^= 1 << dice.below(8);
    }
    // two flips of one bit are none
    if (Buffer.compare(bytes, parcel.bytes) === 0) bytes[0] ^= 1;
    return { ...parcel, bytes, whole: false };
  }

  /** A sample of all that was ever sent (reservoir). */
  #keep(parcel: Parcel): void {
    this.#seen++;
    if (this.#archive.length < ARCHIVE) this.#archive.push(parcel);
    else {
      const at = this.#options.dice.below(this.#seen);
      if (at < ARCHIVE) this.#archive[at] = parcel;
    }
  }
}

function key(from: Port, to: Port, path: number): string {
  return `${from.name}>${to.name}/${path}`;
}
