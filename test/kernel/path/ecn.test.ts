// SPDX-License-Identifier: MIT
// deadline: 90
/** Congestion marks (RFC 3168) over legs that both have them, or one only; see network.ts. */
import * as assert from 'uvu/assert';
import { isolateOrSkip } from '../../support/isolate.js';
import { Capture, Flag } from './capture.js';
import { EVERY, type Families, type Flow, nameOf } from './flow.js';
import { other, SIDES, type Side } from './network.js';
import { stage } from './stage.js';
import { info } from './tcp.js';
import { finish, transfer, WAYS, way } from './transfer.js';

await isolateOrSkip(import.meta.url);

const { network, spliced, test, run } = stage('ECN');

const LENGTH = 1_000_000;
const MS = 5000;
const ECN_FIELD = 3;
const CE = 3;

/** Who asks for ECN in its SYN, or agrees to it, as net.ipv4.tcp_ecn says: 0 neither, 1 both, 2 agrees. */
function negotiate(client: number, proxy: number, server: number): void {
  network.sysctl(network.end.client, 'ipv4/tcp_ecn', client);
  network.sysctl(network.balancer, 'ipv4/tcp_ecn', proxy);
  network.sysctl(network.end.server, 'ipv4/tcp_ecn', server);
}

/** Mark every so manieth packet that may be marked, on its way to this side. */
function congest(side: Side, every: number): void {
  const now = `numgen inc mod ${every} == 0`;
  network.rules(network.router[other(side)], 'forward', [
    `iifname far ip ecn { ect0, ect1 } ${now} ip ecn set ce`,
    `iifname far ip6 ecn { ect0, ect1 } ${now} ip6 ecn set ce`,
  ]);
}

const marks = (capture: Capture, out: boolean): Set<number> =>
  new Set(
    capture.segments
      .filter((packet) => packet.out === out && packet.tcp.payload > 0)
      .map((packet) => packet.tos & ECN_FIELD),
  );

async function both(flow: Flow): Promise<void> {
  for (const each of WAYS) await transfer(flow, each, LENGTH, { ms: MS });
}

for (const families of EVERY) {
  test(`${nameOf(families)}: marks pass where both legs have ECN, and are heard`, async () => {
    negotiate(1, 1, 1);
    const captures = SIDES.map((side) => new Capture(network.end[side]));
    const flow = await spliced({ families });
    for (const side of SIDES) congest(side, 10);
    const counts = await network.counted(() => both(flow));
    assert.is(counts.drop_ecn, undefined);
    for (const [leg, side] of SIDES.entries()) {
      assert.ok(marks(captures[leg], false).has(CE), `marks come to the ${side}`);
      assert.ok(info(flow[side]).deliveredCe > 0, `the ${side} hears of them`);
      const seen = captures[leg].segments.filter((packet) => !(packet.tcp.flags & Flag.SYN));
      for (const [flag, name] of [
        [Flag.ECE, 'ECE'],
        [Flag.CWR, 'CWR'],
      ] as const) {
        for (const out of [true, false]) {
          const has = seen.some((packet) => packet.out === out && packet.tcp.flags & flag);
          assert.ok(has, `${name} ${out ? 'from' : 'to'} the ${side}`);
        }
      }
      captures[leg].close();
    }
    await finish(flow);
  });
}

/** Neither marks nor their echoes come to an end without ECN, and those that are on the way cost time only. */
async function withoutAt(lacking: Side, families: Families): Promise<void> {
  const has = other(lacking);
  const capture = new Capture(network.end[lacking]);
  const flow = await spliced({ families });
  const clean = await network.counted(() => both(flow));
  assert.is(clean.drop_ecn, undefined);
  network.bundles(false); // a bundle is dropped as a whole, and with it all that tells of the loss
  congest(lacking, 50);
  const counts = await network.counted(() => transfer(flow, way(has), 300_000, { ms: MS }));
  assert.ok((counts.drop_ecn ?? 0) >= 3, JSON.stringify(counts));
  assert.equal([...marks(capture, false)], [0], 'marks at the end without ECN');
  const opened = capture.segments.filter((packet) => !(packet.tcp.flags & Flag.SYN));
  const told = opened.filter((packet) => packet.tcp.flags & (Flag.ECE | Flag.CWR));
  assert.is(told.length, 0, 'ECE, CWR at the end without ECN');
  capture.close();
  await finish(flow);
}

for (const families of EVERY) {
  test(`${nameOf(families)}: no marks leave to a server without ECN`, () => {
    negotiate(1, 1, 0);
    return withoutAt('server', families);
  });
}

test('the server is not asked for what the client does not know', async () => {
  negotiate(0, 1, 1);
  const capture = new Capture(network.end.server);
  for (const families of EVERY) {
    const counts = await network.counted(async () => {
      const flow = await spliced({ families });
      await both(flow);
      await finish(flow);
    });
    assert.is(counts.syn_aligned, 1);
  }
  const asked = capture.segments.filter(({ tcp }) => tcp.flags & Flag.SYN);
  assert.is(asked.length, 2 * EVERY.length);
  for (const { tcp } of asked) assert.is(tcp.flags & (Flag.ECE | Flag.CWR), 0);
  assert.equal([...marks(capture, true)], [0]);
  capture.close();
});

run();
