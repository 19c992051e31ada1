// Links between addresses of the loopback interface of a namespace: what they refuse, and count.
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { SyncError } from '../../../sync/error.js';
import { type ClosableLink, openLinks } from '../../../sync/transport/links.js';
import type {
  LinkSettings,
  MulticastSettings,
  TcpSettings,
  UdpSettings,
} from '../../../sync/transport/settings.js';
import { isolateOrSkip, run } from '../../support/isolate.js';
import { PATIENCE } from '../../support/patience.js';
import { within } from '../../support/within.js';

await isolateOrSkip(import.meta.url);

const links = suite('links');

const common = {
  preferred: false,
  family: 4,
  port: 3780,
  sendBuffer: undefined,
  receiveBuffer: undefined,
} as const;
const multicast: MulticastSettings = {
  kind: 'multicast',
  ...common,
  group: '225.0.0.50',
  interface: 'eth0',
  local: undefined,
};
const unicast = <Kind extends 'udp' | 'tcp'>(kind: Kind, local: string, ...peers: string[]) => ({
  kind,
  ...common,
  local,
  peers,
  interface: undefined,
});
const udp: (local: string, ...peers: string[]) => UdpSettings = (local, ...peers) =>
  unicast('udp', local, ...peers);
const tcp: (local: string, ...peers: string[]) => TcpSettings = (local, ...peers) =>
  unicast('tcp', local, ...peers);

interface Opened {
  readonly link: ClosableLink;
  /** Text and path of each datagram that has come. */
  readonly got: string[];
  readonly warnings: string[];
}

const opened: Opened[] = [];
const sockets: Socket[] = [];

async function open(...settings: LinkSettings[]): Promise<Opened> {
  const got: string[] = [];
  const warnings: string[] = [];
  const receive = (datagram: Uint8Array, path: number) => {
    got.push(`${Buffer.from(datagram).toString('latin1').slice(0, 20)} by ${path}`);
  };
  const warn = (message: string) => warnings.push(message);
  const one = { link: await openLinks(settings, receive, { startMs: 0, warn }), got, warnings };
  opened.push(one);
  return one;
}

async function until(what: string, holds: () => boolean): Promise<void> {
  const end = performance.now() + 3000 * PATIENCE;
  while (!holds()) {
    if (performance.now() > end) assert.unreachable(`${what}: not within 3 s`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

const say = ({ link }: Opened, text: string, path = 0): boolean =>
  link.send(Buffer.from(text, 'latin1'), path);

links.before(() => {
  run('ip', 'link', 'add', 'eth0', 'mtu', '9000', 'type', 'veth', 'peer', 'name', 'peer0');
  for (const device of ['eth0', 'peer0']) run('ip', 'link', 'set', device, 'up');
  run('ip', 'address', 'add', '10.9.0.1/24', 'dev', 'eth0');
  for (const host of [2, 3]) run('ip', 'address', 'add', `127.0.0.${host}/8`, 'dev', 'lo');
});

links.after.each(() => {
  for (const { link } of opened.splice(0)) link.close();
  for (const socket of sockets.splice(0)) socket.destroy();
});

async function code(settings: LinkSettings): Promise<string> {
  try {
    await open(settings);
    return 'opened';
  } catch (error) {
    return error instanceof SyncError ? error.code : String(error);
  }
}

links('every counter of a link is in the document', async () => {
  const text = readFileSync(new URL('../../../docs/links.md', import.meta.url), 'utf8');
  const settings = [multicast, udp('127.0.0.1', '127.0.0.2'), tcp('127.0.0.1', '127.0.0.2')];
  const { link } = await open(...settings);
  const names = Object.keys(link.stats()).map((name) => name.replace(/^\S+ \S+ /, ''));
  assert.ok(names.length > 30);
  assert.equal(
    names.filter((name) => !text.includes(`\`${name}\``)),
    [],
  );
});

links('what keeps the only link from opening is named', async () => {
  assert.is(await code({ ...multicast, interface: 'nowhere0' }), 'INTERFACE');
  assert.is(await code({ ...multicast, local: '10.9.0.77' }), 'INTERFACE');
  assert.is(await code(udp('10.77.0.1', '10.77.0.2')), 'INTERFACE');
  assert.is(await code({ ...multicast, group: '10.9.0.1' }), 'GROUP');
  assert.is(await code({ ...multicast, group: '10.77.0.1' }), 'SOCKET');
  assert.is(await code(multicast), 'opened');
});

links('a port that another program has is an error for UDP and TCP', async () => {
  await open(udp('127.0.0.1', '127.0.0.2'), tcp('127.0.0.1', '127.0.0.2'));
  assert.is(await code(udp('127.0.0.1', '127.0.0.2')), 'SOCKET');
  assert.is(await code(tcp('127.0.0.1', '127.0.0.2')), 'SOCKET');
});

links(
  'with several links, one that is not there is waited for, and taken when it comes',
  async () => {
    const one = await open(udp('127.0.0.1', '127.0.0.2'), {
      ...udp('10.9.5.1', '10.9.5.2'),
      interface: 'late0',
      preferred: true,
    });
    assert.equal(one.link.names, ['udp late0', 'udp 127.0.0.1'], 'the preferred one comes first');
    assert.match(one.warnings.join(), /^udp late0 is waited for: interface late0 is down, missing/);
    assert.match(String(one.link.fault(0)), /late0/);
    assert.is(one.link.fault(1), undefined);
    assert.not(say(one, 'lost', 0));
    run('ip', 'link', 'add', 'late0', 'type', 'veth', 'peer', 'name', 'late1');
    run('ip', 'address', 'add', '10.9.5.1/24', 'dev', 'late0');
    for (const device of ['late0', 'late1']) run('ip', 'link', 'set', device, 'up');
    await until('late0 is taken', () => one.link.fault(0) === undefined);
    run('ip', 'link', 'del', 'late0');
  },
);

links('the largest datagram fits the smallest of the interfaces', async () => {
  assert.is((await open(multicast)).link.mtu, 9000 - 28);
  const late = { ...multicast, interface: 'nowhere0' };
  assert.is((await open(udp('127.0.0.1', '127.0.0.2'), late)).link.mtu, 1500 - 28);
});

links('a receive buffer is as large as asked for, whatever net.core.rmem_max says', async () => {
  const { link } = await open({ ...multicast, receiveBuffer: 32 << 20 });
  assert.is(link.stats()['multicast eth0 receive_buffer'], 64 << 20, 'the kernel doubles it');
});

links('UDP takes datagrams from its peers, and counts those of others', async () => {
  const a = await open(udp('127.0.0.1', '127.0.0.2'));
  const b = await open(udp('127.0.0.2', '127.0.0.1'));
  const stranger = await open(udp('127.0.0.3', '127.0.0.1', '127.0.0.2'));
  assert.ok(say(stranger, 'let me in'));
  assert.ok(say(b, 'hello'));
  await until('hello comes', () => a.got.length > 0);
  assert.equal(a.got, ['hello by 0']);
  assert.is(a.link.stats()['udp 127.0.0.1 strangers'], 1);
});

links('a burst that the receiver has no turn to read is not lost', async () => {
  const a = await open(udp('127.0.0.1', '127.0.0.2'));
  const b = await open(udp('127.0.0.2', '127.0.0.1'));
  const datagram = new Uint8Array(1400); // 40,000 records
  for (let i = 0; i < 3000; i++) assert.ok(a.link.send(datagram, 0));
  await until('all have come', () => b.got.length === 3000);
  assert.is(b.link.stats()['udp 127.0.0.2 overflowed'], 0);
});

links('a burst beyond the receive buffer is counted', async () => {
  const a = await open(udp('127.0.0.1', '127.0.0.2'));
  const b = await open({ ...udp('127.0.0.2', '127.0.0.1'), receiveBuffer: 65_536 });
  for (let i = 0; i < 500; i++) a.link.send(new Uint8Array(1400), 0);
  const lost = () => b.link.stats()['udp 127.0.0.2 overflowed'];
  await until('each has come or is counted', () => b.got.length + lost() === 500);
  assert.ok(lost() > 0);
});

links('TCP connects by itself, and again when the peer comes back', async () => {
  const a = await open(tcp('127.0.0.1', '127.0.0.2'));
  assert.not(say(a, 'nobody is there'));
  assert.match(String(a.link.fault(0)), /no connection to 127.0.0.2/);
  let b = await open(tcp('127.0.0.2', '127.0.0.1'));
  await until('a is connected', () => a.link.fault(0) === undefined);
  say(a, 'first');
  say(a, 'second');
  await until('both come', () => b.got.length === 2);
  assert.equal(b.got, ['first by 0', 'second by 0']);
  b.link.close();
  await until('a has seen the end', () => a.link.fault(0) !== undefined);
  b = await open(tcp('127.0.0.2', '127.0.0.1'));
  await until('a is connected again', () => a.link.fault(0) === undefined);
  say(a, 'third');
  await until('it comes', () => b.got.length === 1);
});

links('TCP: who is not a peer is refused, and a peer that sends nonsense is cut off', async () => {
  const a = await open(tcp('127.0.0.1', '127.0.0.2'));
  for (const [localAddress, counter] of [
    ['127.0.0.3', 'strangers'],
    ['127.0.0.2', 'nonsense'],
  ] as const) {
    const socket = connect({ host: '127.0.0.1', port: 3780, localAddress });
    sockets.push(socket);
    socket.on('error', () => {});
    socket.write('GET / HTTP/1.1\r\n\r\n');
    await within(3000, 'its end', once(socket, 'close'));
    assert.is(a.link.stats()[`tcp 127.0.0.1 ${counter}`], 1, counter);
  }
  assert.equal(a.got, []);
});

links('TCP: what a peer that reads nothing does not take is dropped, and counted', async () => {
  const frozen = createServer((socket) => sockets.push(socket.pause())).listen(3780, '127.0.0.2');
  try {
    const a = await open(tcp('127.0.0.1', '127.0.0.2'));
    await until('a is connected', () => a.link.fault(0) === undefined);
    const datagram = new Uint8Array(8000);
    let taken = 0;
    while (taken < 10_000 && a.link.send(datagram, 0)) taken++;
    assert.ok(taken >= 1000 && taken < 3000, `8 MiB wait here, some in the kernel: ${taken}`);
    assert.is(a.link.stats()['tcp 127.0.0.1 queue_full'], 1);
  } finally {
    frozen.close();
  }
});

links.run();
