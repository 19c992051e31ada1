// SPDX-License-Identifier: MIT
/**
 * Golden packets of a node that has yielded its virtual addresses: it neither answers for them nor speaks
 * under them, and its splices go on. The network and the numbers are drawn in test/support/golden.ts.
 */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { libc } from '../../kernel/native.js';
import type { CounterName } from '../../kernel/record/layout.js';
import { Golden } from '../support/golden.js';
import { isolateOrSkip } from '../support/isolate.js';
import { arpFrame, discoveryFrame, icmpv6Frame } from '../support/neighbour.js';
import { segment } from '../support/notation.js';
import { frame, NODE_MAC } from '../support/packet.js';
import { testRun } from '../support/test-run.js';

await isolateOrSkip(import.meta.url);
const golden = await Golden.open();
const { datapath } = golden;

const VIRTUAL = { 4: '10.1.0.100', 6: 'fd00:1::100' } as const;
const OWN = { 4: '10.1.0.3', 6: 'fd00:1::3' } as const;
const CLIENT = { 4: '10.1.0.2', 6: 'fd00:1::2' } as const;
const CLIENT_MAC = '02:00:00:00:00:01';
const GROUP = 'ff02::1:ff00:100';
const GROUP_MAC = '33:33:ff:00:01:00';
const PROGRAMS = '/sys/fs/bpf/spliced';
const FENCED: CounterName[] = [
  'fenced_resolution',
  'fenced_announcement',
  'fenced_probe',
  'fenced_unspliced',
  'fenced_sent',
];

interface Case {
  title: string;
  program?: 'ingress' | 'egress';
  frame: Buffer;
  /** What happens to it while the fence stands: the counter of its drop; nothing: it passes as it is. */
  counter?: CounterName;
  /** The packet passes, changed. */
  becomes?: Buffer;
}

const echo = (request: boolean): Buffer =>
  Buffer.from([request ? 128 : 129, 0, 0, 0, 0, 1, 0, 1, 1, 2, 3, 4]);
const ends = { client: '10.1.0.2:40001', virtual: '10.1.0.100:80' };
const tcp = (line: string): Buffer => frame(segment(line, ends));
const toClient = { from: NODE_MAC, to: CLIENT_MAC };
const toNode = { from: CLIENT_MAC, to: NODE_MAC };
const ask = { operation: 'request', sender: CLIENT[4], from: CLIENT_MAC } as const;
const solicit = { type: 'solicitation', source: CLIENT[6], from: CLIENT_MAC } as const;

const incoming: Case[] = [
  {
    title: 'who has the virtual address, asked of all',
    frame: arpFrame({ ...ask, target: VIRTUAL[4] }),
    counter: 'fenced_resolution',
  },
  {
    title: 'who has it, asked of this node alone',
    frame: arpFrame({ ...ask, target: VIRTUAL[4], to: NODE_MAC }),
    counter: 'fenced_resolution',
  },
  {
    title: 'a probe for it (RFC 5227)',
    frame: arpFrame({ ...ask, sender: '0.0.0.0', target: VIRTUAL[4] }),
    counter: 'fenced_resolution',
  },
  {
    title: 'the new owner’s announcement',
    frame: arpFrame({ ...ask, sender: VIRTUAL[4], target: VIRTUAL[4] }),
  },
  { title: 'who has another address', frame: arpFrame({ ...ask, target: OWN[4] }) },
  {
    title: 'an answer that a neighbour gives to the virtual address',
    frame: arpFrame({ ...ask, operation: 'reply', target: VIRTUAL[4], to: NODE_MAC }),
  },
  {
    title: 'a question for this node’s frames only by accident',
    frame: arpFrame({ ...ask, target: VIRTUAL[4], to: '02:00:00:00:00:99' }),
  },
  {
    title: 'a solicitation, multicast',
    frame: discoveryFrame({ ...solicit, target: VIRTUAL[6], destination: GROUP, to: GROUP_MAC }),
    counter: 'fenced_resolution',
  },
  {
    title: 'a solicitation, unicast',
    frame: discoveryFrame({
      ...solicit,
      target: VIRTUAL[6],
      destination: VIRTUAL[6],
      to: NODE_MAC,
    }),
    counter: 'fenced_resolution',
  },
  {
    title: 'duplicate address detection of the new owner',
    frame: discoveryFrame({
      ...solicit,
      source: '::',
      target: VIRTUAL[6],
      destination: GROUP,
      to: GROUP_MAC,
    }),
    counter: 'fenced_resolution',
  },
  {
    title: 'a solicitation for another address',
    frame: discoveryFrame({ ...solicit, target: OWN[6], destination: OWN[6], to: NODE_MAC }),
  },
  {
    title: 'the new owner’s advertisement',
    frame: discoveryFrame({
      type: 'advertisement',
      ...{ source: VIRTUAL[6], target: VIRTUAL[6], destination: 'ff02::1' },
      ...{ from: CLIENT_MAC, to: '33:33:00:00:00:01' },
    }),
  },
  {
    title: 'an IPv6 echo request',
    frame: icmpv6Frame({ source: CLIENT[6], destination: VIRTUAL[6], ...toNode }, echo(true)),
    counter: 'fenced_unspliced',
  },
  {
    title: 'an IPv6 echo request to another address',
    frame: icmpv6Frame({ source: CLIENT[6], destination: OWN[6], ...toNode }, echo(true)),
  },
  {
    title: 'a protocol other than TCP',
    frame: tcp('client > virtual A seq 1 ttl 64 protocol 17'),
    counter: 'fenced_unspliced',
  },
  {
    title: 'a later fragment whose first was no splice’s',
    frame: tcp('client > virtual A seq 1 ttl 64 frag 0x0010'),
    counter: 'fenced_unspliced',
  },
  {
    title: 'a first fragment of no splice',
    frame: tcp('10.1.0.2:40002 > virtual A seq 1 ttl 64 frag 0x2000'),
    counter: 'fenced_unspliced',
  },
  {
    title: 'a SYN',
    frame: tcp('10.1.0.2:40002 > virtual S seq 1 win 64240 ttl 64 <mss 1460>'),
    counter: 'fenced_unspliced',
  },
  {
    title: 'a segment of no splice',
    frame: tcp('10.1.0.2:40002 > virtual A seq 1 ack 1 win 64 ttl 64'),
    counter: 'fenced_unspliced',
  },
  {
    title: 'a segment to another address',
    frame: tcp('client > 10.1.0.3:80 A seq 1 ack 1 win 64 ttl 64'),
  },
];

const outgoing: Case[] = [
  {
    title: 'the answer that the virtual address is here',
    frame: arpFrame({
      operation: 'reply',
      sender: VIRTUAL[4],
      target: CLIENT[4],
      ...toClient,
    }),
    counter: 'fenced_announcement',
  },
  {
    title: 'a gratuitous request',
    frame: arpFrame({
      operation: 'request',
      sender: VIRTUAL[4],
      target: VIRTUAL[4],
      from: NODE_MAC,
    }),
    counter: 'fenced_announcement',
  },
  {
    title: 'a gratuitous reply',
    frame: arpFrame({ operation: 'reply', sender: VIRTUAL[4], target: VIRTUAL[4], from: NODE_MAC }),
    counter: 'fenced_announcement',
  },
  {
    title: 'a question for a neighbour',
    frame: arpFrame({
      operation: 'request',
      sender: VIRTUAL[4],
      target: CLIENT[4],
      from: NODE_MAC,
    }),
    counter: 'fenced_probe',
    becomes: arpFrame({
      operation: 'request',
      sender: '0.0.0.0',
      target: CLIENT[4],
      from: NODE_MAC,
    }),
  },
  {
    title: 'what ARP says of another address',
    frame: arpFrame({ operation: 'reply', sender: OWN[4], target: CLIENT[4], ...toClient }),
  },
  {
    title: 'an advertisement, from whatever address',
    frame: discoveryFrame({
      ...{ type: 'advertisement', source: OWN[6], target: VIRTUAL[6], destination: CLIENT[6] },
      ...toClient,
    }),
    counter: 'fenced_announcement',
  },
  {
    title: 'an advertisement of another address',
    frame: discoveryFrame({
      ...{ type: 'advertisement', source: OWN[6], target: OWN[6], destination: CLIENT[6] },
      ...toClient,
    }),
  },
  {
    title: 'a question for a neighbour, by a solicitation',
    frame: discoveryFrame({
      ...{ type: 'solicitation', source: VIRTUAL[6], target: CLIENT[6], destination: GROUP },
      ...{ from: NODE_MAC, to: GROUP_MAC },
    }),
    counter: 'fenced_probe',
    becomes: discoveryFrame({
      ...{ type: 'solicitation', source: '::', target: CLIENT[6], destination: GROUP },
      ...{ from: NODE_MAC, to: GROUP_MAC },
    }),
  },
  {
    title: 'a solicitation to one neighbour, who would learn from it',
    frame: discoveryFrame({
      ...{ type: 'solicitation', source: VIRTUAL[6], target: CLIENT[6], destination: CLIENT[6] },
      ...toClient,
    }),
    counter: 'fenced_sent',
  },
  {
    title: 'an IPv6 echo reply',
    frame: icmpv6Frame({ source: VIRTUAL[6], destination: CLIENT[6], ...toClient }, echo(false)),
    counter: 'fenced_sent',
  },
  {
    title: 'an IPv6 echo reply from another address',
    frame: icmpv6Frame({ source: OWN[6], destination: CLIENT[6], ...toClient }, echo(false)),
  },
  {
    title: 'a reset of the stack’s',
    frame: tcp('virtual > 10.1.0.2:40002 R seq 1 win 0 ttl 64'),
    counter: 'fenced_sent',
  },
  {
    title: 'a protocol other than TCP',
    frame: tcp('virtual > client A seq 1 ttl 64 protocol 17'),
    counter: 'fenced_sent',
  },
  {
    title: 'a segment from another address',
    frame: tcp('10.1.0.3:80 > client A seq 1 ack 1 win 64 ttl 64'),
  },
].map((one) => ({ ...one, program: 'egress' }) as Case);

function pass(one: Case): { verdict: number; output: Buffer; counted: CounterName[] } {
  const before = datapath.counters();
  const pin = `${PROGRAMS}/prog_${one.program ?? 'ingress'}`;
  const { verdict, output } = testRun(pin, one.frame, {
    mark: 0,
    ifindex: libc.ifNameToIndex('front'),
  });
  const after = datapath.counters();
  return { verdict, output, counted: FENCED.filter((name) => after[name] !== before[name]) };
}

const fence = suite('golden packets: fence');
fence.before.each(() => {
  datapath.setGuard([VIRTUAL[4], VIRTUAL[6]]);
  golden.reset();
});
fence.after.each(() => {
  datapath.answer('always');
  datapath.setGuard([]);
});

for (const one of [...incoming, ...outgoing]) {
  const title = `${one.program === 'egress' ? 'out' : 'in'}: ${one.title}`;
  fence(title, () => {
    const free = pass(one);
    assert.is(free.verdict, 0, 'passes as long as there is no fence');
    assert.equal(free.counted, []);
    assert.equal(free.output, one.frame);
    datapath.answer('never');
    const { verdict, output, counted } = pass(one);
    const dropped = one.counter !== undefined && one.becomes === undefined;
    assert.is(verdict, dropped ? 2 : 0);
    assert.equal(counted, one.counter ? [one.counter] : []);
    if (!dropped) assert.equal(output, one.becomes ?? one.frame);
  });
}

fence('a splice is translated, and its local sockets still get their acknowledgements', () => {
  datapath.answer('never');
  golden.check({
    title: 'translated',
    in: 'client > virtual PA seq  1000 ack 907000 win 512 ttl 64 "more"',
    out: 'proxy > server  PA seq 51000 ack   7000 win 256 ttl 63 "more"',
    counts: ['translated'],
  });
  golden.check({
    title: 'copied',
    entry: {
      making: {
        states: ['PRE_SPLICED', 'PRE_SPLICED'],
        flags: ['OPEN0', 'OPEN1', 'ACKED0'],
        ownEnd: [907_000, 51_000],
        localNext: [1_000, 7_000],
      },
    },
    in: 'server  > proxy  A seq   7000 ack 51000 win 80 ttl 64',
    out: 'server  > proxy  A seq   7000 ack 51000 win 80 ttl 64',
    copy: 'virtual > client A seq 907000 ack  1000 win 10 ttl 63',
    verdict: 'stack',
    counts: ['local_copy', 'translated'],
  });
});

fence('the proxy’s own bytes of a splice that translates already go on', () => {
  datapath.answer('never');
  golden.check({
    title: 'own data',
    entry: {
      making: {
        states: ['PRE_SPLICED', 'PRE_SPLICED'],
        flags: ['OPEN0', 'OPEN1'],
        ownEnd: [907_000, 51_000],
        localNext: [1_000, 7_000],
      },
    },
    program: 'egress',
    in: 'virtual > client PA seq 906900 ack 1000 win 128 ttl 64 data 100',
    verdict: 'stack',
  });
});

fence('a held socket and one that connects are silent', () => {
  datapath.answer('never');
  for (const states of [
    ['ESTABLISHED', 'ESTABLISHED'],
    ['CLOSE', 'CLOSE'],
  ] as const) {
    golden.check({
      title: states[0],
      entry: {
        making: {
          states: [...states],
          flags: ['OPEN0', 'OPEN1'],
          ...{ ownEnd: [0, 0], localNext: [0, 0] },
        },
      },
      program: 'egress',
      in: 'virtual > client A seq 907000 ack 1000 win 512 ttl 64',
      verdict: 'drop',
      counts: ['fenced_sent'],
    });
  }
});

fence('a SYN on a splice is for the owner of the address, and changes nothing here', () => {
  datapath.answer('never');
  const syn = 'client > virtual S seq 4000000 win 64240 ttl 64 <mss 1460>';
  for (const states of [
    ['SPLICED', 'SPLICED'],
    ['TIMEWAIT', 'TIMEWAIT'],
  ] as const) {
    golden.check({
      title: states[0],
      entry: { states: [...states] },
      in: syn,
      verdict: 'drop',
      counts: ['fenced_unspliced'],
      states: [...states],
    });
  }
});

fence('a term: it answers until the time is over', () => {
  const question = incoming[0];
  datapath.answer({ forMs: 600_000 });
  assert.is(pass(question).verdict, 0);
  const { answering } = datapath;
  assert.ok(typeof answering === 'object' && answering.forMs > 0 && answering.forMs <= 600_000);
  datapath.answer({ forMs: -1 });
  assert.is(pass(question).verdict, 2);
  assert.is(datapath.answering, 'never');
  datapath.answer('always');
  assert.is(datapath.answering, 'always');
  assert.is(pass(question).verdict, 0);
});

fence.after(() => golden.close());
fence.run();
