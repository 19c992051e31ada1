/** Which records are meant: the filters of `conntrack -L`, as one test over a record. */
import { State } from './layout.js';
import { parseAddress, type RecordView } from './record.js';

export type Filter = (record: RecordView) => boolean;

/** All that are given must hold. */
export interface FilterOptions {
  /** Client: ADDRESS or ADDRESS/PREFIX. */
  readonly src?: string | undefined;
  /** Virtual server: ADDRESS or ADDRESS/PREFIX. */
  readonly dst?: string | undefined;
  /** Client's port. */
  readonly sport?: string | undefined;
  /** Virtual server's port. */
  readonly dport?: string | undefined;
  /** Of the splice, or of one of its legs. */
  readonly state?: string | undefined;
  /** Virtual or real server: ADDRESS:PORT, [ADDRESS]:PORT for IPv6. */
  readonly service?: string | undefined;
}

/** @throws RangeError with a sentence that says which option is wrong and what is expected */
export function makeFilter(options: FilterOptions): Filter | undefined {
  const tests: Filter[] = [];
  const { src, dst, sport, dport, state, service } = options;
  if (src !== undefined) {
    const inside = network('--src', src);
    tests.push((record) => inside(record.bytes, record.tuple(0).offset));
  }
  if (dst !== undefined) {
    const inside = network('--dst', dst);
    tests.push((record) => inside(record.bytes, record.tuple(0).offset + 16));
  }
  if (sport !== undefined) {
    const port = portNumber('--sport', sport);
    tests.push((record) => record.tuple(0).sourcePort === port);
  }
  if (dport !== undefined) {
    const port = portNumber('--dport', dport);
    tests.push((record) => record.tuple(0).destinationPort === port);
  }
  if (state !== undefined) {
    const number = stateNumber(state);
    tests.push((record) => record.state(0) === number || record.state(1) === number);
  }
  if (service !== undefined) tests.push(serviceTest(service));
  if (tests.length === 0) return undefined;
  return (record) => tests.every((test) => test(record));
}

type AddressTest = (bytes: Uint8Array, offset: number) => boolean;

function network(option: string, given: string): AddressTest {
  const [address, prefix, ...more] = given.split('/');
  const wanted = new Uint8Array(16);
  const v4 = !address.includes(':');
  const width = v4 ? 32 : 128;
  const bits = prefix === undefined ? width : /^\d{1,3}$/.test(prefix) ? Number(prefix) : -1;
  if (!tryParse(address, wanted) || bits < 0 || bits > width || more.length > 0) {
    throw new RangeError(`${option} ${given}: expected an address, or a network as ADDRESS/PREFIX`);
  }
  const significant = v4 ? 96 + bits : bits;
  return (bytes, offset) => {
    for (let bit = 0; bit < significant; bit += 8) {
      const mask = significant - bit >= 8 ? 0xff : (0xff00 >> (significant - bit)) & 0xff;
      if ((bytes[offset + bit / 8] ^ wanted[bit / 8]) & mask) return false;
    }
    return true;
  };
}

function tryParse(text: string, into: Uint8Array): boolean {
  try {
    parseAddress(text, into);
    return true;
  } catch {
    return false;
  }
}

function portNumber(option: string, given: string): number {
  const port = /^\d{1,5}$/.test(given) ? Number(given) : 0;
  if (port < 1 || port > 65535) {
    throw new RangeError(`${option} ${given}: expected a port from 1 to 65535`);
  }
  return port;
}

function stateNumber(given: string): number {
  const name = given.toUpperCase().replaceAll('-', '_');
  if (!Object.hasOwn(State, name)) {
    throw new RangeError(`--state ${given}: expected one of ${Object.keys(State).join(', ')}`);
  }
  return State[name as keyof typeof State];
}

function serviceTest(given: string): Filter {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d+)$/.exec(given);
  const address = match?.[1] ?? match?.[2] ?? '';
  if (!match || !tryParse(address, new Uint8Array(16))) {
    throw new RangeError(`--service ${given}: expected ADDRESS:PORT of a virtual or a real server`);
  }
  const inside = network('--service', address);
  const port = portNumber('--service', match[3]);
  return (record) => {
    const client = record.tuple(0);
    const server = record.tuple(1);
    return (
      (client.destinationPort === port && inside(record.bytes, client.offset + 16)) ||
      (server.sourcePort === port && inside(record.bytes, server.offset))
    );
  };
}
