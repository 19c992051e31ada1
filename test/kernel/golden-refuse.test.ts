// SPDX-License-Identifier: MIT
/**
 * Golden packets that the datapath refuses, answers or leaves alone; what the local stack may send
 * beside a splice; the guard of virtual addresses.
 * The network and the numbers are drawn in test/support/golden.ts.
 */
import { createServer } from 'node:net';
import { suite } from 'uvu';
import { MARK_ALIGN, Option } from '../../kernel/record/layout.js';
import { Golden, type GoldenCase } from '../support/golden.js';
import { isolateOrSkip } from '../support/isolate.js';

await isolateOrSkip(import.meta.url);
const golden = await Golden.open();

const refused: GoldenCase[] = [
  {
    title: 'a SYN on a live splice is answered by a question about the old connection',
    steps: [
      {
        in: 'client > virtual A seq  1000 ack 907000 win 512 ttl 64',
        out: 'proxy > server  A seq 51000 ack   7000 win 256 ttl 63',
      },
      {
        in: 'client > virtual S seq 4000000 win 64240 ttl 64 <mss 1460>',
        out: 'virtual > client A seq 906999 ack 1000 win 0 ttl 64 <nop,nop,nop,nop>',
        swapsMacs: true,
        counts: ['syn_probed'],
        states: ['SPLICED', 'SPLICED'],
        remainingMsMax: 60_000,
      },
    ],
  },
  {
    title: 'a SYN on a splice that has just been taken over is answered from its record',
    in: 'client > virtual S seq 4000000 win 64240 ttl 64 <mss 1460>',
    out: 'virtual > client A seq 906999 ack 1000 win 0 ttl 64 <nop,nop,nop,nop>',
    swapsMacs: true,
    counts: ['syn_probed'],
    states: ['SPLICED', 'SPLICED'],
    remainingMsMax: 60_000,
  },
  {
    title: 'a SYN on a splice that has ended takes its place',
    entry: { states: ['TIMEWAIT', 'TIMEWAIT'] },
    in: 'client > virtual S seq 4000000 win 64240 ttl 64 <mss 1460>',
    verdict: 'stack',
    counts: ['syn_reused'],
    states: 'gone',
  },
  {
    title: 'a SYN-ACK on a live splice is answered likewise, and not passed on',
    in: 'server > proxy SA seq 4000000 ack 51000 win 64240 ttl 64 <mss 1460>',
    out: 'proxy > server A seq 50999 ack 7000 win 0 ttl 64 <nop,nop,nop,nop>',
    swapsMacs: true,
    counts: ['syn_probed'],
    states: ['SPLICED', 'SPLICED'],
  },
  {
    title: 'an option of length 0 is dropped',
    in: 'client > virtual A seq 1000 ack 907000 win 512 ttl 64 <raw 8 0 1 1>',
    verdict: 'drop',
    counts: ['drop_malformed'],
  },
  {
    title: 'an option that runs past the header is dropped',
    in: 'client > virtual A seq 1000 ack 907000 win 512 ttl 64 <nop,nop,raw 8 10> "0123456789"',
    verdict: 'drop',
    counts: ['drop_malformed'],
  },
  {
    title: 'an option whose length is missing is dropped',
    in: 'client > virtual A seq 1000 ack 907000 win 512 ttl 64 <nop,nop,nop,raw 5>',
    verdict: 'drop',
    counts: ['drop_malformed'],
  },
  {
    title: 'a SACK option of odd length does not reach past its end',
    in: 'client > virtual A seq  1000 ack 907000 win 512 ttl 64 <raw 5 5 9 9 9,nop,nop,nop>',
    out: 'proxy > server  A seq 51000 ack   7000 win 256 ttl 63 <raw 5 5 9 9 9,nop,nop,nop>',
  },
  {
    title: 'a segment without ACK is dropped',
    in: 'client > virtual P seq 1000 win 512 ttl 64 "x"',
    verdict: 'drop',
    counts: ['drop_malformed'],
  },
  {
    title: 'a packet marked "congestion experienced" is dropped for a leg without ECN',
    entry: { ecn: [true, false] },
    in: 'client > virtual A seq 1000 ack 907000 win 512 ttl 64 tos 3',
    verdict: 'drop',
    counts: ['drop_ecn'],
  },
  {
    title: 'a packet without a route to the other end is dropped',
    entry: { server: '172.16.9.9:8080' },
    in: 'client > virtual A seq 1000 ack 907000 win 512 ttl 64',
    verdict: 'drop',
    counts: ['drop_route'],
  },
];

const untouched: GoldenCase[] = [
  {
    title: 'a packet of another connection',
    in: '10.1.0.2:40002 > virtual A seq 1000 ack 907000 win 512 ttl 64',
    counts: ['missed'],
  },
  {
    title: 'a frame for another host, seen because the switch floods',
    in: 'client > virtual A seq 1000 ack 907000 win 512 ttl 64 mac 02:00:00:00:00:99',
  },
  {
    title: 'a first fragment of another connection',
    in: '10.1.0.2:40002 > virtual A seq 1000 ack 907000 win 512 ttl 64 frag 0x2000',
  },
  {
    title: 'a later fragment whose first was not seen',
    in: 'client > virtual A seq 1000 ack 907000 win 512 ttl 64 frag 0x0010',
  },
  {
    title: 'a header shorter than 20 bytes',
    in: 'client > virtual A seq 1000 ack 907000 win 512 ttl 64 offset 4',
    counts: ['malformed_passed'],
  },
  {
    title: 'a header longer than the packet',
    in: 'client > virtual A seq 1000 ack 907000 win 512 ttl 64 offset 15',
    counts: ['malformed_passed'],
  },
  {
    title: 'a packet that says it is longer than it is',
    in: 'client > virtual A seq 1000 ack 907000 win 512 ttl 64 length 1000',
    counts: ['malformed_passed'],
  },
  {
    title: 'a protocol other than TCP',
    in: 'client > virtual A seq 1000 ack 907000 win 512 ttl 64 protocol 17',
  },
  {
    title: 'a frame that is not IPv4',
    in: 'client > virtual A seq 1000 ack 907000 win 512 ttl 64 type 0x86dd',
  },
];

const outgoing: GoldenCase[] = [
  {
    title: 'a RST of the local stack does not reach a spliced connection',
    program: 'egress',
    in: 'virtual > client R seq 907000 win 0 ttl 64',
    verdict: 'drop',
    counts: ['local_rst'],
  },
  {
    title: 'nor does anything else that it says there',
    program: 'egress',
    in: 'proxy > server A seq 51000 ack 7000 win 256 ttl 64',
    verdict: 'drop',
    counts: ['local_stray'],
  },
  {
    title: 'a translated packet, known by its mark, leaves as it is',
    program: 'egress',
    mark: 0x53504c,
    in: 'proxy > server A seq 51000 ack 7000 win 256 ttl 63',
    verdict: 'stack',
  },
  {
    title: 'a packet of another connection leaves as it is',
    program: 'egress',
    in: 'virtual > 10.1.0.2:40002 R seq 907000 win 0 ttl 64',
    verdict: 'stack',
  },
  {
    title: 'a SYN for a client without SACK does not offer it to the server',
    program: 'egress',
    mark: MARK_ALIGN | Option.SACK0,
    in: '10.2.0.100:50002 > server S seq 50000 win 64240 ttl 64 <mss 1460,sackok,ts 1 0,nop,wscale 7>',
    out: '10.2.0.100:50002 > server S seq 50000 win 64240 ttl 64 <mss 1460,nop,nop,ts 1 0,nop,wscale 7>',
    verdict: 'stack',
  },
];

for (const [name, cases] of Object.entries({ refused, untouched, outgoing })) {
  const group = suite(`golden packets: ${name}`);
  for (const one of cases) group(one.title, () => golden.check(one));
  group.run();
}

const guard = suite('golden packets: guard');
const SYN = '10.1.0.3:40003 > virtual S seq 1 win 64240 ttl 64 <mss 1460>';
const STRAY = '10.1.0.3:40003 > virtual A seq 1 ack 1 win 512 ttl 64';

guard.after.each(() => {
  golden.datapath.setGuard([]);
  golden.datapath.setDraining(false);
});

guard(
  'while armed, a packet of a flow still to be committed is held back, a SYN to a listener passes',
  async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(80, '10.1.0.100', resolve));
    try {
      golden.datapath.setGuard(['10.1.0.100']);
      golden.datapath.guardArm();
      golden.check({ title: 'stray', in: STRAY, verdict: 'drop', counts: ['guard_held'] });
      golden.check({ title: 'reset', in: STRAY.replace(' A ', ' RA '), verdict: 'drop' });
      golden.check({ title: 'to a listener', in: SYN, verdict: 'stack', counts: [] });
      golden.check({
        title: 'to a port where nobody listens',
        in: SYN.replace('virtual', '10.1.0.100:81'),
        verdict: 'drop',
        counts: ['guard_held'],
      });
      golden.check({
        title: 'to an address that is not virtual',
        in: STRAY.replace('virtual', '10.1.0.1:80'),
        verdict: 'stack',
      });
      golden.check({
        title: 'of a splice',
        in: 'client > virtual A seq  1000 ack 907000 win 512 ttl 64',
        out: 'proxy > server  A seq 51000 ack   7000 win 256 ttl 63',
      });
    } finally {
      server.close();
    }
  },
);

guard('once released and its time over, the stack may answer again', async () => {
  golden.datapath.setGuard(['10.1.0.100']);
  golden.datapath.guardArm();
  golden.datapath.guardRelease(50);
  golden.check({ title: 'before', in: STRAY, verdict: 'drop', counts: ['guard_held'] });
  await new Promise((resolve) => setTimeout(resolve, 80));
  golden.check({ title: 'after', in: STRAY, verdict: 'stack' });
});

guard('a planned hand-over drops SYNs and lets the rest pass', () => {
  golden.datapath.setGuard(['10.1.0.100']);
  golden.datapath.guardRelease(0);
  golden.datapath.setDraining(true);
  golden.check({ title: 'opening', in: SYN, verdict: 'drop', counts: ['drain_syn'] });
  golden.check({ title: 'answer', in: STRAY, verdict: 'stack' });
  golden.datapath.setDraining(false);
  golden.check({ title: 'opening afterwards', in: SYN, verdict: 'stack' });
});

guard.after(() => golden.close());
guard.run();
