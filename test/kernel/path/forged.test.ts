// SPDX-License-Identifier: MIT
// deadline: 90
/** Packets that no end has sent, or that come from an end in an unusual way; see network.ts. */
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { libc } from '../../../kernel/native.js';
import { isolateOrSkip } from '../../support/isolate.js';
import { within } from '../../support/within.js';
import { Capture, Flag } from './capture.js';
import { EVERY, type Flow, nameOf, SAME } from './flow.js';
import { fragments, icmpError, inject, injectTagged, segment } from './forge.js';
import { impostor } from './impostor.js';
import type { Namespace } from './namespace.js';
import { DEVICE, other, SIDES } from './network.js';
import { stage, until } from './stage.js';
import { abort, descriptor, info, set, untilReset } from './tcp.js';
import { transfer, WAYS, way } from './transfer.js';

await isolateOrSkip(import.meta.url);

const { network, flows, spliced, test, run } = stage('packets of another kind');

const IPPROTO_IP = 0;
const IP_TTL = 2;
const IP_OPTIONS = 4;
const IP_MTU_DISCOVER = 10;
const IP_PMTUDISC_DONT = 0;
const IPPROTO_IPV6 = 41;
const IPV6_HOPOPTS = 54;
const IPV6_DSTOPTS = 59;
const IPV6_UNICAST_HOPS = 16;
const MS = 2000;

/** The flow is as good as before. */
async function alive(flow: Flow): Promise<void> {
  for (const way of WAYS) await transfer(flow, way, 100_000, { ms: MS });
}

/** No connection of a namespace is left. */
function connectionsGone(space: Namespace): Promise<void> {
  const rest = (): string => space.exec('ss', '-tnH', 'state', 'connected', 'exclude', 'time-wait');
  return until(() => rest() === '', 'no connection is left');
}

const FAR = 0x40000000;
for (const [what, forged, counter] of [
  ['an RST outside the window', { flags: Flag.RST | Flag.ACK, seq: FAR }, 'rst_refused'],
  ['an RST inside the window, but not exact', { flags: Flag.RST, seq: 1000 }, 'rst_relayed'],
  ['a FIN outside the window', { flags: Flag.FIN | Flag.ACK, seq: FAR }, 'fin_refused'],
  ['a SYN', { flags: Flag.SYN, seq: 12_345 }, 'syn_probed'],
  ['data outside the window', { payload: Buffer.alloc(100, 'x'), seq: FAR }, 'translated'],
] as const) {
  test(`${what} that somebody sends with the right addresses changes nothing`, async () => {
    for (const families of EVERY) {
      for (const side of SIDES) {
        const flow = await spliced({ families });
        await alive(flow);
        const { seq, send } = impostor(network, flow, side);
        const counts = await network.counted(async () => {
          send({ ...forged, seq: seq + forged.seq });
          await sleep(20);
        });
        assert.ok(counts[counter], `${nameOf(families)}, ${side}: ${JSON.stringify(counts)}`);
        await alive(flow);
      }
    }
  });
}

test("a client that aborts while the server still owes the proxy's own data its ACK", async () => {
  for (const families of SAME) {
    const { client, made } = flows.begin({
      families,
      before: (greeting) => {
        network.filter('server', 'tcp flags & rst == 0 drop');
        return greeting;
      },
    });
    const { refusal, committed } = await made;
    assert.is(refusal, undefined);
    abort(client);
    assert.is(await within(1000, 'the end', committed), 'reset');
    await connectionsGone(network.end.server);
    network.filter('server', '');
  }
});

test('a late segment, after an abort, is answered by an RST that its sender believes', async () => {
  for (const families of EVERY) {
    for (const side of SIDES) {
      const flow = await spliced({ families });
      await alive(flow);
      const late = impostor(network, flow, side);
      abort(flow.client);
      await untilReset(flow.server, 1000);
      flow.server.destroy();
      const capture = new Capture(network.end[side]);
      const counts = await network.counted(async () => {
        late.send({ payload: Buffer.alloc(100, 'x') });
        await sleep(20);
      });
      assert.is(counts.late_reset, 1, JSON.stringify(counts));
      const answers = capture.segments.filter((packet) => !packet.out);
      assert.is(answers.length, 1);
      const { from, to, tcp } = answers[0];
      assert.equal([from, to], [late.there.address, late.here.address]);
      assert.equal([tcp.sourcePort, tcp.destinationPort], [late.there.port, late.here.port]);
      assert.ok(tcp.flags & Flag.RST);
      assert.is(tcp.seq, late.ack);
      capture.close();
    }
  }
});

test('a packet whose hop limit is used up is answered, and comes again', async () => {
  for (const families of EVERY) {
    for (const side of SIDES) {
      const flow = await spliced({ families });
      const v4 = families[SIDES.indexOf(side)] === 4;
      const [level, name] = v4 ? [IPPROTO_IP, IP_TTL] : [IPPROTO_IPV6, IPV6_UNICAST_HOPS];
      const { there, seq } = impostor(network, flow, side);
      const capture = new Capture(network.end[side]);
      const counts = await network.counted(async () => {
        set(descriptor(flow[side]), level, name, 2); // one for the router, one for this node
        flow[side].write('1234567890');
        await sleep(20);
      });
      assert.equal([counts.drop_ttl, counts.icmp_ttl], [1, 1], JSON.stringify(counts));
      const [error] = capture.errors;
      assert.is(error.from, there.address);
      assert.equal([error.icmp.type, error.icmp.code], [v4 ? 11 : 3, 0]);
      assert.is(error.icmp.about?.tcp?.seq, seq);
      assert.is(error.icmp.about?.to, there.address);
      set(descriptor(flow[side]), level, name, 64);
      const [bytes] = await within(
        1000,
        'it comes again',
        once(flow[other(side)].resume(), 'data'),
      );
      assert.is(bytes.toString(), '1234567890');
      capture.close();
    }
  }
});

test('IP options end at this node, and the flow goes on', async () => {
  const recordRoute = Buffer.from([1, 7, 15, 4, ...Array(12).fill(0)]);
  for (const families of EVERY) {
    for (const side of SIDES.filter((_, leg) => families[leg] === 4)) {
      const flow = await spliced({ families });
      const capture = new Capture(network.end[other(side)]);
      const fd = descriptor(flow[side]);
      libc.setsockopt(fd, IPPROTO_IP, IP_OPTIONS, recordRoute, recordRoute.length);
      const counts = await network.counted(() => alive(flow));
      assert.ok(counts.ip_options, JSON.stringify(counts));
      const seen = capture.segments.filter((packet) => !packet.out && packet.tcp.payload);
      const kept = families[0] === families[1];
      for (const { ipOptions } of seen) {
        assert.is(ipOptions.toString('hex'), kept ? '01'.repeat(16) : '');
      }
      capture.close();
    }
  }
});

test('extension headers of IPv6 are kept', async () => {
  network.bundles(false); // Linux's own routers measure bundles with such headers wrongly
  const padding = Buffer.from([0, 0, 1, 4, 0, 0, 0, 0]);
  for (const families of EVERY.filter(([client, server]) => client === 6 && server === 6)) {
    for (const side of SIDES) {
      const flow = await spliced({ families });
      const capture = new Capture(network.end[other(side)]);
      for (const name of [IPV6_HOPOPTS, IPV6_DSTOPTS]) {
        libc.setsockopt(descriptor(flow[side]), IPPROTO_IPV6, name, padding, padding.length);
      }
      const counts = await network.counted(async () => {
        // a server's socket goes on with the MSS from before, which is too big now
        await transfer(flow, way(side), side === 'client' ? 100_000 : 1000, { ms: MS });
        await transfer(flow, way(other(side)), 100_000, { ms: MS });
      });
      assert.ok((counts.translated ?? 0) > 80, JSON.stringify(counts));
      const seen = capture.segments.filter((packet) => !packet.out);
      assert.ok(seen.length > 5 && seen.every(({ ipOptions }) => ipOptions.length === 16));
      capture.close();
    }
  }
});

test('fragments come through in order; what overtakes its first piece comes again', async () => {
  for (const families of EVERY) {
    for (const side of SIDES.filter((_, leg) => families[leg] === 4)) {
      const flow = await spliced({ families });
      const to = flow[other(side)];
      const { make, here } = impostor(network, flow, side);
      // its own stack must not get the bytes through
      const whole = `ip saddr ${here.address} ip frag-off & 0x3fff == 0 meta length > 200 drop`;
      network.rule(network.router[side], 'forward', whole);
      const payload = Buffer.from(Array.from({ length: 2000 }, (_, i) => i * 7));
      flow[side].write(payload);
      const pieces = (id: number) => fragments(make({ payload, id, mayFragment: true }), 600);
      const send = async (packets: Buffer[]): Promise<void> => {
        for (const packet of packets) inject(network.end[side], packet);
        await sleep(20);
      };
      const got: Buffer[] = [];
      to.on('data', (bytes) => got.push(bytes)).resume();
      const counts = await network.counted(async () => {
        await send(pieces(7001).reverse());
        assert.is(got.length, 0);
        await send(pieces(7002));
      });
      if (families[0] === families[1]) {
        assert.ok((counts.fragments ?? 0) >= 4, JSON.stringify(counts));
        assert.ok(Buffer.concat(got).equals(payload));
      } else {
        assert.ok(counts.drop_fragment, JSON.stringify(counts));
      }
      network.rule(network.router[side], 'forward', '');
      await until(() => Buffer.concat(got).length >= payload.length, 'all has come');
      assert.ok(Buffer.concat(got).equals(payload));
      to.pause().removeAllListeners('data');
      await alive(flow);
    }
  }
});

test('what a router fragments, since its sender allows it, arrives', async () => {
  for (const side of SIDES) {
    const flow = await spliced();
    set(descriptor(flow[side]), IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT);
    network.mtu(side, 'near', 1300);
    const counts = await network.counted(async () => {
      await transfer(flow, way(side), 500_000, { ms: MS });
    });
    assert.ok((counts.fragments ?? 0) > 300, JSON.stringify(counts));
    network.calm();
  }
});

for (const side of SIDES) {
  test(`packets of a VLAN that come to the ${side}'s interface are another net's`, async () => {
    for (const families of EVERY) {
      const flow = await spliced({ families });
      await alive(flow);
      const { make } = impostor(network, flow, side);
      const reset = make({ flags: Flag.RST | Flag.ACK, payload: Buffer.alloc(0) });
      const counts = await network.counted(async () => {
        injectTagged(network.router[side], 'near', network.balancer, DEVICE[side], 5, reset);
        await sleep(20);
      });
      assert.is(counts.vlan_passed, 1, JSON.stringify(counts));
      await alive(flow);
      // a tag without a number says no more than a priority
      const now = impostor(network, flow, side).make({ flags: Flag.RST | Flag.ACK });
      injectTagged(network.router[side], 'near', network.balancer, DEVICE[side], 0, now);
      await untilReset(flow[other(side)], 1000);
    }
  });
}

test('an ICMP error about what is under way reaches its sender, in the terms of its own leg', async () => {
  for (const families of EVERY) {
    for (const side of SIDES) {
      const flow = await spliced({ families });
      await alive(flow);
      const sender = other(side);
      const [v4, senderV4] = [side, sender].map((s) => families[SIDES.indexOf(s)] === 4);
      const { here, there, ack } = impostor(network, flow, side);
      const mine = impostor(network, flow, sender);
      const capture = new Capture(network.end[sender]);
      network.filter(side, 'meta l4proto tcp drop');
      flow[sender].write(Buffer.alloc(1000, 'x'));
      await sleep(10);
      const mtu = 1300;
      const send = (seq: number): void => {
        const about = segment(there, here, { seq, payload: Buffer.alloc(1000) });
        const kind = v4 ? { type: 3, code: 4, value: mtu } : { type: 2, code: 0, value: mtu };
        const quoted = about.subarray(0, v4 ? 28 : 1200);
        inject(network.end[side], icmpError(here.address, there.address, kind, quoted));
      };
      const before = info(flow[sender]).sndMss;
      const refused = await network.counted(async () => {
        send(ack + FAR);
        await sleep(10);
      });
      assert.is(refused.icmp_refused, 1, JSON.stringify(refused));
      assert.is(capture.errors.length, 0);
      assert.is(info(flow[sender]).sndMss, before);
      const relayed = await network.counted(async () => {
        send(ack);
        await sleep(10);
      });
      assert.is(relayed.icmp_relayed, 1, JSON.stringify(relayed));
      const [error] = capture.errors;
      const { icmp } = error;
      assert.is(error.from, mine.there.address);
      assert.equal([icmp.type, icmp.code], senderV4 ? [3, 4] : [2, 0]);
      const expected = mtu + (senderV4 === v4 ? 0 : senderV4 ? -20 : 20);
      assert.is(icmp.value, expected);
      assert.equal([icmp.about?.from, icmp.about?.to], [mine.here.address, mine.there.address]);
      assert.is(icmp.about?.tcp?.seq, mine.seq);
      assert.is(icmp.about?.tcp?.sourcePort, mine.here.port);
      assert.is(icmp.about?.tcp?.destinationPort, mine.there.port);
      await until(() => info(flow[sender]).pmtu === expected, 'the sender has learnt the MTU');
      capture.close();
      network.calm();
      network.forgetMtu();
    }
  }
});

run();
