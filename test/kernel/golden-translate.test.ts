// SPDX-License-Identifier: MIT
/**
 * Golden packets, one way and the other, through the ingress program (BPF_PROG_TEST_RUN).
 * The network and the numbers are drawn in test/support/golden.ts.
 */
import { suite } from 'uvu';
import { Golden, type GoldenCase } from '../support/golden.js';
import { isolateOrSkip } from '../support/isolate.js';

await isolateOrSkip(import.meta.url);

const packets: GoldenCase[] = [
  {
    title: 'a request goes to the server in the numbers of the server’s leg',
    in: 'client > virtual PA seq  1000 ack 907000 win 512 ttl 64 <nop,nop,ts   100 20500> "GET / HTTP"',
    out: 'proxy > server  PA seq 51000 ack   7000 win 256 ttl 63 <nop,nop,ts 10100   500> "GET / HTTP"',
  },
  {
    title: 'an answer comes back in the numbers of the client’s leg',
    in: 'server  > proxy  PA seq   7000 ack 51010 win 4000 ttl 60 <nop,nop,ts   500 10100> "HTTP/1.1 200"',
    out: 'virtual > client PA seq 907000 ack  1010 win  500 ttl 59 <nop,nop,ts 20500   100> "HTTP/1.1 200"',
  },
  {
    title: 'a bare acknowledgement without options is renumbered too',
    in: 'client > virtual A seq  1016 ack 908000 win 100 ttl 64',
    out: 'proxy > server  A seq 51016 ack   8000 win  50 ttl 63',
  },
  {
    title: 'every edge of four SACK blocks moves by as much as the acknowledgement',
    in: 'client > virtual A seq 1016 ack 908000 win 100 <nop,nop,sack 909000-909500 910000-910500 911000-911500 912000-912500>',
    out: 'proxy > server A seq 51016 ack 8000 win 50 ttl 63 <nop,nop,sack 9000-9500 10000-10500 11000-11500 12000-12500>',
  },
  {
    title: 'a duplicate SACK below the acknowledgement moves with it, beside a timestamp',
    in: 'server > proxy   A seq   7500 ack 53000 win 800 ttl 64 <nop,nop,ts   510 10110,nop,nop,sack 51500-52000>',
    out: 'virtual > client A seq 907500 ack  3000 win 100 ttl 63 <nop,nop,ts 20510   110,nop,nop,sack  1500-2000>',
  },
  {
    title: 'a timestamp is found behind other options and without the usual padding',
    in: 'client > virtual A seq  1016 ack 908000 win 100 ttl 64 <raw 254 6 171 205 1 2,ts   100 20500>',
    out: 'proxy > server  A seq 51016 ack   8000 win  50 ttl 63 <raw 254 6 171 205 1 2,ts 10100   500>',
  },
  {
    title: 'what stands behind the end of the options is left as it is',
    in: 'client > virtual A seq  1016 ack 908000 win 100 ttl 64 <end,raw 8 10 1 2 3 4 5 6 7 8 1>',
    out: 'proxy > server  A seq 51016 ack   8000 win  50 ttl 63 <end,raw 8 10 1 2 3 4 5 6 7 8 1>',
  },
  {
    title: 'the urgent pointer is an offset and stays',
    in: 'client > virtual PAU seq  1016 ack 907000 win 512 ttl 64 urg 3 "urgent"',
    out: 'proxy > server  PAU seq 51016 ack   7000 win 256 ttl 63 urg 3 "urgent"',
  },
  {
    title: 'type of service, congestion marks and the packet’s id stay',
    in: 'client > virtual A seq  1016 ack 907000 win 512 ttl 64 tos 0x2b id 0xbeef frag 0 "x"',
    out: 'proxy > server  A seq 51016 ack   7000 win 256 ttl 63 tos 0x2b id 0xbeef frag 0 "x"',
  },
  {
    title: 'a leg without ECN gets neither marks nor echoes',
    entry: { ecn: [true, false] },
    in: 'client > virtual PAEC seq  1000 ack 907000 win 512 ttl 64 tos 0x2a "x"',
    out: 'proxy > server  PA seq 51000 ack   7000 win 256 ttl 63 tos 0x28 "x"',
  },
  {
    title: 'a payload of odd length keeps its checksum right',
    in: 'server  > proxy  A seq   7000 ack 51016 win 80 ttl 64 data 1447',
    out: 'virtual > client A seq 907000 ack  1016 win 10 ttl 63 data 1447',
  },
  {
    title: 'a window too large for the leg that it leaves on is cut to 65,535',
    entry: { wscaleIn: [7, 0], wscaleOut: [0, 0] },
    in: 'client > virtual A seq  1016 ack 907000 win  5000 ttl 64',
    out: 'proxy > server  A seq 51016 ack   7000 win 65535 ttl 63',
  },
  {
    title: 'a window of fourteen shifts on both legs stays what it is',
    entry: { wscaleIn: [14, 14], wscaleOut: [14, 14] },
    in: 'client > virtual A seq  1016 ack 907000 win 65535 ttl 64',
    out: 'proxy > server  A seq 51016 ack   7000 win 65535 ttl 63',
  },
  {
    title: 'timestamps that the server’s leg does not use are blanked',
    entry: { timestamps: [true, false] },
    in: 'client > virtual A seq  1016 ack 907000 win 512 ttl 64 <nop,nop,ts 100 20500>',
    out: 'proxy > server  A seq 51016 ack   7000 win 256 ttl 63 <nop,nop,nop,nop,nop,nop,nop,nop,nop,nop,nop,nop>',
  },
  {
    title: 'sequence numbers, acknowledgements and SACK edges wrap at 2^32',
    entry: { seqD: [0xffff_ff00, 0x8000_0000] },
    in: 'client > virtual A seq 0x200 ack 0x7ffffff0 win 512 ttl 64 <nop,nop,sack 0x80000010-0x80000020>',
    out: 'proxy > server  A seq 0x100 ack 0xfffffff0 win 256 ttl 63 <nop,nop,sack 0x00000010-0x00000020>',
  },
  {
    title: 'timestamps wrap at 2^32',
    entry: { tsvalD: [0xffff_fff0, 0x8000_0000] },
    in: 'server  > proxy  A seq   7000 ack 51016 win 80 ttl 64 <nop,nop,ts 0x80000001 0x05>',
    out: 'virtual > client A seq 907000 ack  1016 win 10 ttl 63 <nop,nop,ts 0x00000001 0x15>',
  },
];

const golden = await Golden.open();
const translation = suite('golden packets: translation');
for (const packet of packets) translation(packet.title, () => golden.check(packet));
translation.after(() => golden.close());
translation.run();
