/** Seals on one simulated link: what each of them lets through, and all that was ever on the wire. */
import { createSecretKey } from 'node:crypto';
import type { Link } from '../../sync/ports.js';
import type { SealKey } from '../../sync/seal/box.js';
import { openSeal, type Seal, type SealOptions } from '../../sync/seal/seal.js';
import { Segment, Type, Writer } from '../../sync/wire.js';
import { World } from './world.js';

export const MTU = 1472;

/** The key of this id; another secret for another `material`. */
export function key(id: number, material = id): SealKey {
  return { id, secret: createSecretKey(Buffer.alloc(32, material)) };
}

/** A datagram as an engine would send it; its text is told from others by what it says. */
export function datagram(sender: number, text: string): Uint8Array {
  const writer = new Writer(MTU, false);
  for (const character of text) {
    writer.bytes[writer.item(Segment.NAME)] = character.charCodeAt(0);
  }
  return writer.finish({ type: Type.HELLO, sender, incarnation: 7, oldest: 1 }).slice();
}

/** What datagram() was made of. */
export function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.subarray(76)).toString('latin1');
}

export interface Sent {
  readonly bytes: Uint8Array;
  readonly from: End;
  readonly path: number;
}

export class Ether {
  readonly world: World;
  readonly ends: End[] = [];
  readonly sent: Sent[] = [];
  /** Datagrams for which this says true are lost. */
  lose: (sent: Sent, to: End) => boolean = () => false;

  constructor(
    seed = 1,
    readonly paths = 1,
  ) {
    this.world = new World(seed);
  }

  end(node: number, keys: readonly SealKey[], options: Partial<SealOptions> = {}): End {
    const end = new End(this, node, keys, options);
    this.ends.push(end);
    return end;
  }

  carry(from: End, bytes: Uint8Array, path: number): void {
    const sent = { bytes: bytes.slice(), from, path };
    this.sent.push(sent);
    for (const to of this.ends) {
      if (to === from || this.lose(sent, to)) continue;
      const { seal } = to;
      this.world.after(0.1 + this.world.random() * 0.1, () => {
        // what was meant for a process that is gone
        if (seal === to.seal) to.seal.receive(sent.bytes.slice(), path);
      });
    }
  }
}

export class End {
  seal: Seal;
  /** Texts that came through, in their order. */
  heard: string[] = [];
  proved = 0;
  readonly #link: Link;

  constructor(
    readonly ether: Ether,
    readonly node: number,
    readonly keys: readonly SealKey[],
    readonly options: Partial<SealOptions>,
  ) {
    this.#link = {
      mtu: MTU,
      paths: ether.paths,
      send: (bytes, path) => {
        ether.carry(this, bytes, path);
        return true;
      },
      stats: () => ({}),
    };
    this.seal = this.#open(ether.world);
  }

  say(text: string, path = 0): void {
    this.seal.send(datagram(this.node, text), path);
  }

  /** The process dies, and another one starts that remembers nothing. */
  restart(): void {
    this.seal.stop();
    this.heard = [];
    this.seal = this.#open(this.ether.world);
  }

  rejected(name: string): number {
    return this.seal.rejections()[name];
  }

  /** Sum of all rejections. */
  get refused(): number {
    return Object.values(this.seal.rejections()).reduce((sum, count) => sum + count, 0);
  }

  #open(world: World): Seal {
    return openSeal({
      link: this.#link,
      keys: this.keys,
      node: this.node,
      clock: { now: () => world.now, after: (ms, fn) => world.after(ms, fn) },
      random: { u32: () => Math.floor(world.random() * 2 ** 32) },
      deliver: (bytes) => this.heard.push(textOf(bytes)),
      proved: () => {
        this.proved++;
      },
      ...this.options,
    });
  }
}
