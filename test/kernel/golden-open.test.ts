// SPDX-License-Identifier: MIT
/**
 * Golden packets of a splice in the making: held, or translating while the local sockets are open.
 * A far end's packet may then be two: one for the other far end, one without payload for the socket.
 * The network and the numbers are drawn in test/support/golden.ts.
 */
import { suite } from 'uvu';
import { Golden, type GoldenCase, type GoldenEntry } from '../support/golden.js';
import { isolateOrSkip } from '../support/isolate.js';

await isolateOrSkip(import.meta.url);
const golden = await Golden.open();

/** The proxy has written a request that ends at 51,000, and nothing to the client. */
const open: GoldenEntry = {
  making: {
    states: ['PRE_SPLICED', 'PRE_SPLICED'],
    flags: ['OPEN0', 'OPEN1', 'ACKED0'],
    ownEnd: [907_000, 51_000],
    localNext: [1_000, 7_000],
    tsSent: [20_500, 10_100],
    copied: [true, false],
  },
};

const held: GoldenEntry = {
  making: {
    states: ['ESTABLISHED', 'ESTABLISHED'],
    flags: ['OPEN0', 'OPEN1'],
    ownEnd: [0, 0],
    localNext: [0, 0],
  },
};

const incoming: GoldenCase[] = [
  {
    title: 'the acknowledgement of the request goes to the client and to the socket',
    entry: open,
    in: 'server  > proxy  A seq   7000 ack 51000 win 80 ttl 64',
    out: 'server  > proxy  A seq   7000 ack 51000 win 80 ttl 64',
    copy: 'virtual > client A seq 907000 ack  1000 win 10 ttl 63',
    verdict: 'stack',
    counts: ['local_copy', 'translated'],
  },
  {
    title: 'data that acknowledge the client’s bytes too: the socket hears of its own only',
    entry: open,
    in: 'server  > proxy  PA seq   7000 ack 51500 win 80 ttl 64 <nop,nop,ts 500 10100> "HTTP/1.1 200"',
    out: 'server > proxy  A  seq   7000 ack 51000 win 80 ttl 64 <nop,nop,ts 500 10100>',
    copy: 'virtual > client PA seq 907000 ack 1500 win 10 ttl 63 <nop,nop,ts 20500 100> "HTTP/1.1 200"',
    verdict: 'stack',
    counts: ['local_copy', 'translated'],
  },
  {
    title: 'an acknowledgement of half the request is the socket’s business alone',
    entry: open,
    in: 'server > proxy A seq 7000 ack 50500 win 80 ttl 64',
    verdict: 'stack',
    counts: ['local_copy'],
  },
  {
    title:
      'data before the request is acknowledged: the client must not hear of bytes it never sent',
    entry: open,
    in: 'server > proxy PA seq 7000 ack 50500 win 80 ttl 64 <nop,nop,sack 50700-50800> "early"',
    out: 'server > proxy A seq 7000 ack 50500 win 80 ttl 64 <nop,nop,sack 50700-50800>',
    copy: 'virtual > client PA seq 907000 ack 1000 win 9 ttl 63 <nop,nop,nop,nop,nop,nop,nop,nop,nop,nop,nop,nop> "early"',
    verdict: 'stack',
    counts: ['local_copy', 'translated', 'clamped'],
  },
  {
    title: 'once the socket has had its last acknowledgement, packets pass it by',
    entry: open,
    in: 'client > virtual PA seq  1000 ack 907000 win 512 ttl 64 "more"',
    out: 'proxy > server  PA seq 51000 ack   7000 win 256 ttl 63 "more"',
    counts: ['translated'],
  },
  {
    title: 'data that the proxy has read already are answered by the socket, not passed on',
    entry: open,
    in: 'client > virtual PA seq 900 ack 907000 win 512 ttl 64 data 100',
    verdict: 'stack',
    counts: ['old_data'],
  },
  {
    title: 'a FIN that comes while the splice is held must come again',
    entry: held,
    in: 'client > virtual FA seq 1000 ack 907000 win 512 ttl 64',
    verdict: 'drop',
    counts: ['hold_fin'],
  },
  {
    title: 'data that come while the splice is held are the socket’s',
    entry: held,
    in: 'client > virtual PA seq 1000 ack 907000 win 512 ttl 64 "more"',
    verdict: 'stack',
  },
];

const outgoing: GoldenCase[] = [
  {
    title: 'a held socket acknowledges nothing new',
    entry: held,
    program: 'egress',
    in: 'virtual > client A seq 907000 ack 1500 win 100 ttl 64',
    verdict: 'drop',
    counts: ['hold_ack'],
  },
  {
    title: 'what a held socket still sends acknowledges what was read before the hold',
    entry: held,
    program: 'egress',
    in: 'virtual > client PA seq 907000 ack 1500 win 100 ttl 64 "late"',
    out: 'virtual > client PA seq 907000 ack 1000 win 100 ttl 64 "late"',
    verdict: 'stack',
  },
  {
    title: 'the request, sent again, is no older than what has passed it by',
    entry: open,
    program: 'egress',
    in: 'proxy > server PA seq 50900 ack 7300 win 256 ttl 64 <nop,nop,ts 10050 500> data 100',
    out: 'proxy > server PA seq 50900 ack 7000 win 256 ttl 64 <nop,nop,ts 10100 500> data 100',
    verdict: 'stack',
  },
  {
    title: 'a newer timestamp of the socket’s own stays',
    entry: open,
    program: 'egress',
    in: 'proxy > server PA seq 50900 ack 7000 win 256 ttl 64 <nop,nop,ts 10150 500> data 100',
    verdict: 'stack',
  },
  {
    title: 'the socket’s FIN stays in the host, its data do not',
    entry: open,
    steps: [
      {
        program: 'egress',
        in: 'proxy > server FA seq 51000 ack 7000 win 256 ttl 64',
        verdict: 'drop',
        counts: ['local_fin'],
      },
      {
        program: 'egress',
        in: 'proxy > server FPA seq 50900 ack 7000 win 256 ttl 64 data 100',
        out: 'proxy > server PA seq 50900 ack 7000 win 256 ttl 64 data 100',
        verdict: 'stack',
        counts: ['local_fin'],
      },
    ],
  },
  {
    title: 'the socket’s RST stays in the host',
    entry: open,
    program: 'egress',
    in: 'virtual > client RA seq 907000 ack 1000 win 0 ttl 64',
    verdict: 'drop',
    counts: ['local_rst'],
  },
];

const making = suite('golden packets: a splice in the making');
for (const one of [...incoming, ...outgoing]) making(one.title, () => golden.check(one));
making.after(() => golden.close());
making.run();
