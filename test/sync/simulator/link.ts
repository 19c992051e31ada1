/** What carries a daemon's datagrams: the simulated network, sealed or not, with a judge who listens. */
import { createSecretKey } from 'node:crypto';
import type { Clock, Link, Random } from '../../../sync/ports.js';
import { BODY, type SealKey } from '../../../sync/seal/box.js';
import { openSeal } from '../../../sync/seal/seal.js';
import { HEADER_SIZE, NONCE_AT, readU64 } from '../../../sync/wire.js';
import type { Daemon } from './daemon.js';
import type { Machine } from './machine.js';
import type { Said } from './said.js';

export interface Carried {
  readonly link: Link;
  /** True: it has got through the seal. */
  receive(datagram: Uint8Array, path: number): boolean;
}

export interface CarriedOptions {
  readonly daemon: Daemon;
  readonly machine: Machine;
  readonly mtu: number;
  readonly paths: number;
  readonly sealed: boolean;
  readonly clock: Clock;
  readonly random: Random;
}

/** One key for all runs: it is not what a run is about. */
const KEYS: readonly SealKey[] = [{ id: 1, secret: createSecretKey(new Uint8Array(32).fill(7)) }];

export function carry(options: CarriedOptions): Carried {
  const { daemon, machine, mtu, paths, clock, random } = options;
  const { network, watcher } = machine.around;
  let said: Said | undefined;
  const wire: Link = {
    mtu,
    paths,
    send: (datagram, path) => {
      if (!daemon.alive) return true;
      if (options.sealed) watcher.sealing(daemon, session(datagram), nonce(datagram), datagram);
      return network.send(machine, datagram, path, said);
    },
    stats: () => ({}),
  };
  let delivered = false;
  const deliver = (datagram: Uint8Array, path: number): void => {
    delivered = true;
    daemon.engine.receive(datagram, path);
  };
  const proved = (): void => daemon.engine.greet();
  const parts = { link: wire, keys: KEYS, node: machine.id, clock, random, deliver, proved };
  const seal = options.sealed ? openSeal(parts) : undefined;
  const below = seal ?? wire;
  const link: Link = {
    mtu: below.mtu,
    paths,
    sealed: options.sealed,
    send: (datagram, path) => {
      if (!daemon.alive) return true;
      said = watcher.sending(daemon, datagram);
      const taken = below.send(datagram, path);
      said = undefined;
      return taken;
    },
    stats: () => ({}),
  };
  const receive = (bytes: Uint8Array, path: number): boolean => {
    delivered = false;
    if (seal) seal.receive(bytes, path);
    else deliver(bytes, path);
    return delivered && seal !== undefined;
  };
  return { link, receive };
}

/** The salt of a sealed datagram, as text. */
function session(datagram: Uint8Array): string {
  return Buffer.from(datagram.subarray(HEADER_SIZE, BODY)).toString('latin1');
}

function nonce(datagram: Uint8Array): number {
  return readU64(new DataView(datagram.buffer, datagram.byteOffset), NONCE_AT);
}
