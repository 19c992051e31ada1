// SPDX-License-Identifier: MIT
// deadline: 90
/** Legs that have not negotiated the same, over real paths; see the drawing in network.ts. */
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { resumeReading, stopReading } from '../../../kernel/socket.js';
import { isolateOrSkip } from '../../support/isolate.js';
import { Capture, Flag } from './capture.js';
import { EVERY, type Families, nameOf } from './flow.js';
import { other, SIDES } from './network.js';
import { stage } from './stage.js';
import { descriptor, info, set } from './tcp.js';
import { finish, transfer, WAYS, way } from './transfer.js';

await isolateOrSkip(import.meta.url);

/** Times what is needed on an idle machine: a stall of TCP takes 200 ms at least, a collapse seconds. */
const SOL_SOCKET = 1;
const SO_RCVBUF = 8;
const CLEAN_MS = 2000;
const LOSSY_MS = 5000;
const { network, flows, test, run } = stage('legs that differ');

/** Up, down and to the end, over flows of all families side by side. */
async function all({
  length,
  ms,
  refusal,
}: {
  length: number;
  ms: number;
  refusal?: string | undefined;
}) {
  const one = async (families: Families) => {
    const flow = await flows.open({ families });
    assert.is(flow.refusal, refusal, nameOf(families));
    for (const each of WAYS) await transfer(flow, each, length, { ms });
    await finish(flow);
  };
  await Promise.all(EVERY.map(one));
}

/** Clean and in bundles first, then segment by segment with losses before either end. */
async function cleanAndLossy(refusal?: string): Promise<void> {
  await all({ length: 2_000_000, ms: CLEAN_MS, refusal });
  network.bundles(false);
  for (const side of SIDES) network.lose(side, 1);
  await all({ length: 400_000, ms: LOSSY_MS, refusal });
}

/** Kinds of the TCP options of a segment. */
function kindsOf(options: Buffer): number[] {
  const kinds: number[] = [];
  for (let at = 0; at < options.length && options[at] !== 0; ) {
    kinds.push(options[at]);
    at += options[at] === 1 ? 1 : options[at + 1];
  }
  return kinds;
}

test('legs that agree', () => cleanAndLossy());

for (const side of SIDES) {
  for (const { name, what, kind } of [
    { name: 'tcp_timestamps', what: 'timestamps', kind: 8 },
    { name: 'tcp_window_scaling', what: 'window scaling', kind: 3 },
    { name: 'tcp_sack', what: 'SACK', kind: 5 },
  ]) {
    // a server without SACK is heard of when the client's leg has it already
    const refusal = name === 'tcp_sack' && side === 'server' ? 'sack_mismatch' : undefined;
    test(`no ${what} at the ${side}, which is ${refusal ? 'relayed' : 'spliced'}`, async () => {
      network.sysctl(network.end[side], `ipv4/${name}`, 0);
      const capture = new Capture(network.end[side]);
      await cleanAndLossy(refusal);
      const received = capture.segments.filter(({ out, tcp }) => !out && !(tcp.flags & Flag.SYN));
      assert.ok(received.length > 500);
      assert.not.ok(received.some(({ tcp }) => kindsOf(tcp.options).includes(kind)));
      capture.close();
    });
  }

  test(`a smaller link of the ${side} from the start`, async () => {
    network.mtu(side, 'far', 1400);
    await cleanAndLossy();
  });

  test(`no segment is longer than the ${side} has said that it takes`, async () => {
    const limit = 1240;
    const to = network.end[side];
    const n = side === 'client' ? 1 : 2;
    to.ip(
      `route replace default via 10.${n}.1.1 advmss ${limit}`,
      `route replace default via fd00:${n}:1::1 advmss ${limit}`,
    );
    try {
      await all({ length: 500_000, ms: CLEAN_MS });
      network.bundles(false);
      const capture = new Capture(to);
      await all({ length: 300_000, ms: CLEAN_MS });
      const lengths = capture.segments
        .filter((packet) => !packet.out)
        .map(({ tcp }) => tcp.payload + tcp.options.length);
      assert.is(Math.max(...lengths), limit);
      capture.close();
    } finally {
      to.ip(`route replace default via 10.${n}.1.1`, `route replace default via fd00:${n}:1::1`);
    }
  });
}

const HUGE = '4096 131072 536870912';
for (const side of SIDES) {
  for (const scaling of [true, false]) {
    const what = scaling ? 'as usual at the other end' : 'not at all at the other end';
    test(`windows of the ${side} are scaled by 14, ${what}`, async () => {
      network.sysctl(network.end[side], 'ipv4/tcp_rmem', HUGE);
      if (!scaling) network.sysctl(network.end[other(side)], 'ipv4/tcp_window_scaling', 0);
      const one = async (families: Families) => {
        const flow = await flows.open({ families });
        assert.is(flow.refusal, undefined);
        await flow.committed;
        for (const to of SIDES) {
          await transfer(flow, way(other(to)), 1_000_000, { ms: CLEAN_MS });
          // a receiver that does not read closes its window; the sender must have seen it close
          stopReading(flow[to]);
          set(descriptor(flow[to]), SOL_SOCKET, SO_RCVBUF, 65_536);
          const sent = transfer(flow, way(other(to)), 1_000_000, { ms: LOSSY_MS });
          sent.catch(() => {}); // awaited below; what fails before that is to be told
          const windows = () => [info(flow[other(to)]).sndWnd, info(flow[to]).rcvWnd];
          for (let i = 0; i < 20; i++) {
            await sleep(100);
            const [known, open] = windows();
            if (known <= open) break;
          }
          const [known, open] = windows();
          assert.ok(known <= open, `${known} of ${open}`);
          resumeReading(flow[to]);
          await sent;
        }
        await finish(flow);
      };
      await Promise.all(EVERY.map(one));
    });
  }
}

run();
