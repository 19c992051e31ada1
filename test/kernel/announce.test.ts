// SPDX-License-Identifier: MIT
/**
 * Announcements of an address that has moved here: every octet, and what the cache of a real neighbour
 * makes of them. This process is the node; the neighbour's namespace is at the other end of a cable.
 */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { announce, framesFor, placesOf } from '../../kernel/announce.js';
import { isolateOrSkip } from '../support/isolate.js';
import { arpFrame, discoveryFrame } from '../support/neighbour.js';
import { Namespace } from './path/namespace.js';
import { until } from './path/stage.js';

await isolateOrSkip(import.meta.url);

const MAC = '02:00:00:00:00:10';
const ELSEWHERE = '02:00:00:00:00:99';
const ADDRESSES = ['10.1.0.100', 'fd00:1::100'];
const node = Namespace.current();
const neighbour = Namespace.make();

const frames = suite('announcements: octets');

frames('IPv4: a request and a reply, both in the name of the address', () => {
  const both = { sender: '10.1.0.100', target: '10.1.0.100', from: MAC };
  assert.equal(framesFor('10.1.0.100', MAC, true), [
    arpFrame({ operation: 'request', ...both }),
    arpFrame({ operation: 'reply', ...both, hardware: MAC }),
  ]);
});

frames('IPv6: an advertisement that overrides, to all nodes, which says whether it routes', () => {
  const advertisement = {
    type: 'advertisement',
    ...{ target: 'fd00:1::100', source: 'fd00:1::100', destination: 'ff02::1' },
    ...{ from: MAC, to: '33:33:00:00:00:01' },
  } as const;
  for (const [router, flags] of [
    [false, 0x20],
    [true, 0xa0],
  ] as const) {
    assert.equal(framesFor('fd00:1::100', MAC, router), [
      discoveryFrame({ ...advertisement, flags }),
    ]);
  }
});

frames.run();

const caches = suite('announcements: caches of neighbours');

caches.before(async () => {
  node.withoutDad();
  node.ip(
    `link add near address ${MAC} type veth peer name far netns ${neighbour.path}`,
    'link set near up',
    ...ADDRESSES.map((a) => `address add ${a}/${a.includes(':') ? '128 nodad' : '32'} dev near`),
  );
  neighbour.ip(
    'address add 10.1.0.2/24 dev far',
    'address add fd00:1::2/64 dev far nodad',
    'link set far up',
  );
  const up = (): boolean => /state UP/.test(neighbour.exec('ip', '-o', 'link', 'show', 'far'));
  await until(up, 'the cable is there', 5000);
});

const known = (address: string): string =>
  neighbour.exec('ip', 'neighbour', 'show', 'to', address, 'dev', 'far');

for (const address of ADDRESSES) {
  caches(`who thinks ${address} elsewhere finds it here`, async () => {
    neighbour.ip(`neighbour replace ${address} lladdr ${ELSEWHERE} nud reachable dev far`);
    assert.match(known(address), ELSEWHERE);
    assert.equal(announce([address]), [{ address, device: 'near' }]);
    await until(() => known(address).includes(MAC), `${address} is here`, 5000);
  });
}

caches('an address with a label is announced too', async () => {
  const address = '10.1.0.104';
  node.ip(`address add ${address}/32 dev near label near:1`);
  neighbour.ip(`neighbour replace ${address} lladdr ${ELSEWHERE} nud reachable dev far`);
  assert.equal(announce([address]), [{ address, device: 'near:1' }]);
  await until(() => known(address).includes(MAC), `${address} is here`, 5000);
});

caches('an address that stands nowhere, or on no Ethernet, is not announced', () => {
  node.ip('address add 10.1.0.101/32 dev lo');
  const addresses = ['10.1.0.101', '10.1.0.102'];
  assert.equal(placesOf(addresses), []);
  assert.equal(announce(addresses), []);
});

caches.run();
