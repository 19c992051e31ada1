// SPDX-License-Identifier: MIT
// deadline: 90
/** Links that take less than others, from the start or in mid-flow; see the drawing in network.ts. */
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { isolateOrSkip } from '../../support/isolate.js';
import { Capture } from './capture.js';
import { EVERY, type Families, type Flow, MIXED, nameOf, SAME } from './flow.js';
import { other, SIDES, type Side } from './network.js';
import { stage } from './stage.js';
import { descriptor, info, set } from './tcp.js';
import { finish, transfer, WAYS, way } from './transfer.js';

await isolateOrSkip(import.meta.url);

const { network, spliced, test, run } = stage('path MTU');

const IPPROTO_IP = 0;
const IP_MTU_DISCOVER = 10;
const IP_PMTUDISC_DONT = 0;
const SMALL = 1300;
/** IP and TCP headers, with timestamps. */
const HEADERS = { 4: 52, 6: 72 } as const;
const MS = 3000;
/** Of what is cut short the rest is sent again, some of it after a retransmission timeout. */
const TRIMMED_MS = 10_000;

const familyOf = (families: Families, side: Side) => families[side === 'client' ? 0 : 1];

/** What a sender is to learn of a small link on the other side: headers differ by 20 octets. */
function expectedMtu(families: Families, side: Side): number {
  return SMALL + HEADERS[familyOf(families, other(side))] - HEADERS[familyOf(families, side)];
}

/** Send over all flows while a link on one side, which they leave by, becomes smaller. */
async function midFlow(all: Flow[], side: Side, link: 'near' | 'far'): Promise<void> {
  const length = 400_000;
  const pace = { piece: 10_000, paceMs: 2, ms: MS };
  const sender = other(side);
  const running = all.map((flow) => transfer(flow, way(sender), length, pace));
  await sleep(50);
  network.mtu(side, link, SMALL);
  await Promise.all(running);
}

const openAll = (kinds: Families[]): Promise<Flow[]> =>
  Promise.all(kinds.map((families) => spliced({ families })));

async function asBefore(all: Flow[], side: Side, length = 100_000, ms = MS): Promise<void> {
  for (const flow of all) {
    for (const each of WAYS) await transfer(flow, each, length, { ms });
    await finish(flow, side);
  }
}

/** The senders have learnt the MTU, and send segments that fit. */
function learnt(all: Flow[], kinds: Families[], side: Side): void {
  const sender = other(side);
  for (const [i, flow] of all.entries()) {
    const { pmtu, sndMss } = info(flow[sender]);
    const expected = expectedMtu(kinds[i], side);
    const headers = HEADERS[familyOf(kinds[i], sender)];
    assert.equal([pmtu, sndMss], [expected, expected - headers], nameOf(kinds[i]));
  }
}

// flows of one sender share what it has learnt of the way: one flow of each family at a time
for (const kinds of [SAME, MIXED]) {
  for (const bundles of [true, false]) {
    const what = `${kinds.map(nameOf).join(', ')}, segments ${bundles ? 'in bundles' : 'one by one'}`;
    for (const side of SIDES) {
      test(`a router on the ${side}'s side whose next link shrinks: ${what}`, async () => {
        if (!bundles) network.bundles(false);
        const all = await openAll(kinds);
        const counts = await network.counted(() => midFlow(all, side, 'far'));
        assert.ok((counts.icmp_relayed ?? 0) >= kinds.length, JSON.stringify(counts));
        learnt(all, kinds, side);
        await asBefore(all, side);
      });

      test(`this node's own link to the ${side} shrinks: ${what}`, async () => {
        if (!bundles) network.bundles(false);
        const all = await openAll(kinds);
        const counts = await network.counted(async () => {
          await midFlow(all, side, 'near');
          network.mtu(side, 'far', SMALL); // would complain of segments that are too long still
          for (const flow of all) await transfer(flow, way(other(side)), 100_000, { ms: MS });
        });
        if (bundles) {
          assert.ok(counts.gso_resized, JSON.stringify(counts));
        } else {
          assert.ok((counts.icmp_too_big ?? 0) >= kinds.length, JSON.stringify(counts));
          assert.is(counts.gso_resized, undefined);
          learnt(all, kinds, side);
        }
        assert.is(counts.icmp_relayed, undefined, JSON.stringify(counts));
        await asBefore(all, side);
      });
    }
  }
}

for (const side of SIDES) {
  test(`a small link of this node to the ${side} from the start`, async () => {
    network.mtu(side, 'near', SMALL);
    const all = await openAll(EVERY);
    for (const flow of all) {
      for (const each of WAYS) await transfer(flow, each, 500_000, { ms: MS });
    }
    network.bundles(false);
    await asBefore(all, side);
  });

  test(`a sender that allows fragments is cut short before a small link to the ${side}`, async () => {
    network.bundles(false);
    const sender = other(side);
    const kinds = EVERY.filter((families) => familyOf(families, sender) === 4);
    const all = await openAll(kinds);
    const capture = new Capture(network.end[sender]);
    for (const flow of all) {
      set(descriptor(flow[sender]), IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT);
    }
    network.mtu(side, 'near', SMALL);
    const counts = await network.counted(async () => {
      for (const flow of all) await transfer(flow, way(sender), 50_000, { ms: TRIMMED_MS });
    });
    assert.ok((counts.trimmed ?? 0) >= 30, JSON.stringify(counts));
    assert.is(counts.icmp_too_big, undefined, JSON.stringify(counts));
    const sent = capture.segments.filter((packet) => packet.out && packet.tcp.payload > 1000);
    assert.ok(sent.every((packet) => !packet.dontFragment));
    capture.close();
    await asBefore(all, side, 20_000, TRIMMED_MS);
  });
}

run();
