// Records as text, XML and JSON: what they look like, and that every dump is well-formed.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { COUNTED_SIZE, writeCounted } from '../../kernel/record/counted.js';
import { type FilterOptions, makeFilter } from '../../kernel/record/filter.js';
import {
  Flag,
  LIVE_SIZE,
  LiveOffset,
  Option,
  RECORD_SIZE,
  State,
} from '../../kernel/record/layout.js';
import { Page } from '../../kernel/record/page.js';
import { RecordView } from '../../kernel/record/record.js';
import { RENDERINGS, type RenderingName, renderRecords } from '../../kernel/record/render.js';
import type { NodeNames } from '../../kernel/record/rendering.js';
import { escapeXml } from '../../kernel/record/xml.js';
import { NODES, records } from './support.js';

const NAMES: NodeNames = new Map(Object.entries(NODES).map(([id, name]) => [Number(id), name]));
const XSD = fileURLToPath(new URL('../../docs/spliced.xsd', import.meta.url));

function dump(
  name: RenderingName,
  bytes: Uint8Array,
  names = NAMES,
  filter?: FilterOptions,
  counted = false,
): string {
  const { head, tail } = RENDERINGS[name];
  const made = makeFilter(filter ?? {});
  return (
    head(counted) +
    Buffer.concat([
      ...renderRecords(RENDERINGS[name], bytes, { names, filter: made, counted }),
    ]).toString() +
    tail
  );
}

/** One record with something in every field. */
function full(): RecordView {
  const record = new RecordView(records(1));
  record.flags = Flag.FIN0 | Flag.ACKED0 | Flag.ACKED1;
  record.options = Option.TS0 | Option.TS1 | Option.SACK0 | Option.ECN1;
  record.setState(0, State.FIN_RELAYED);
  record.setSeqDelta(0, 0xfffffff0);
  record.setSeqDelta(1, 7);
  record.setBase(0, 100);
  record.setBase(1, 200);
  record.setTsvalDelta(0, 11);
  record.setTsvalDelta(1, 12);
  record.setWscaleIn(0, 7);
  record.setWscaleOut(0, 8);
  record.setWscaleIn(1, 9);
  record.setWscaleOut(1, 10);
  record.setMss(0, 1460);
  record.setMss(1, 8960);
  record.idleMs = 1500;
  return record;
}

const renderings = suite('renderings');

renderings('text has the columns of the old table, then ours', () => {
  assert.is(
    dump('text', full().bytes),
    'FromIP   FPrt ToIP     TPrt LocalIP  LPrt DestIP   DPrt State       Expires Origin   Owner    Epoch Gen Id\n' +
      '0A010002 9C41 0A010064 0050 0A020064 4E20 0A02000B 1F90 SPLICED      431990 lb-a     lb-b         2   3 1\n',
  );
});

renderings('XML is in the vocabulary of conntrack', () => {
  assert.is(
    dump('xml', full().bytes),
    '<?xml version="1.0" encoding="utf-8"?>\n<conntrack>\n<flow>' +
      '<meta direction="original" leg="client">' +
      '<layer3 protonum="2" protoname="ipv4"><src>10.1.0.2</src><dst>10.1.0.100</dst></layer3>' +
      '<layer4 protonum="6" protoname="tcp"><sport>40001</sport><dport>80</dport></layer4></meta>' +
      '<meta direction="reply" leg="server">' +
      '<layer3 protonum="2" protoname="ipv4"><src>10.2.0.11</src><dst>10.2.0.100</dst></layer3>' +
      '<layer4 protonum="6" protoname="tcp"><sport>8080</sport><dport>20000</dport></layer4></meta>' +
      '<meta direction="independent"><state>SPLICED</state><timeout>431990</timeout><id>1</id>' +
      '<origin>lb-a</origin><generation>3</generation>' +
      '<incarnation>1700000000000000</incarnation><owner>lb-b</owner><epoch>2</epoch></meta>' +
      '<splice client="FIN_RELAYED" server="SPLICED" flags="FIN0 ACKED0 ACKED1">' +
      '<seq original="4294967280" reply="7" client-base="100" server-base="200"/>' +
      '<timestamp original="11" reply="12" client="true" server="true"/>' +
      '<window client-in="7" client-out="8" server-in="9" server-out="10"/>' +
      '<sack client="true" server="false"/><ecn client="false" server="true"/><mss client="1460" server="8960"/></splice></flow>\n' +
      '</conntrack>\n',
  );
});

renderings('JSON is one object a line', () => {
  assert.equal(JSON.parse(dump('json', full().bytes)), {
    client: { address: '10.1.0.2', port: 40001 },
    virtual: { address: '10.1.0.100', port: 80 },
    local: { address: '10.2.0.100', port: 20000 },
    real: { address: '10.2.0.11', port: 8080 },
    state: 'SPLICED',
    client_state: 'FIN_RELAYED',
    server_state: 'SPLICED',
    flags: ['FIN0', 'ACKED0', 'ACKED1'],
    timeout_s: 431990,
    idle_ms: 1500,
    origin: 'lb-a',
    incarnation: '1700000000000000',
    id: '1',
    owner: 'lb-b',
    epoch: 2,
    generation: 3,
    seq: { original: 4294967280, reply: 7 },
    base: { client: 100, server: 200 },
    tsval: { original: 11, reply: 12 },
    wscale_in: { client: 7, server: 9 },
    wscale_out: { client: 8, server: 10 },
    mss: { client: 1460, server: 8960 },
    timestamps: { client: true, server: true },
    sack: { client: true, server: false },
    ecn: { client: false, server: true },
  });
});

/** The same with counters, as the kernel's own table is dumped; its client leg is IPv6. */
function counted(): Uint8Array {
  const record = full();
  record.tuple(0).source = '2001:db8::1:0:2';
  record.tuple(0).destination = '2001:db8::100';
  const bytes = new Uint8Array(COUNTED_SIZE);
  const live = Buffer.alloc(LIVE_SIZE);
  live.writeBigUInt64LE(12n, LiveOffset.packets);
  live.writeBigUInt64LE(2n ** 53n - 1n, LiveOffset.packets + 8);
  live.writeBigUInt64LE(3456n, LiveOffset.bytes);
  live.writeBigUInt64LE(2n ** 32n, LiveOffset.bytes + 8);
  writeCounted(record.bytes, live, bytes, 0);
  return bytes;
}

renderings(
  'of the kernel table have packets and bytes of each direction; each leg has its family',
  () => {
    const text = dump('text', counted(), NAMES, {}, true);
    assert.is(
      text,
      'FromIP   FPrt ToIP     TPrt LocalIP  LPrt DestIP   DPrt State       Expires Origin   Owner    Epoch Gen Id OrigPkts OrigBytes ReplyPkts ReplyBytes\n' +
        '20010DB8000000000000000100000002 9C41 20010DB8000000000000000000000100 0050 0A020064 4E20 0A02000B 1F90 SPLICED      431990 lb-a     lb-b         2   3 1       12      3456 9007199254740991 4294967296\n',
    );
    const xml = dump('xml', counted(), NAMES, {}, true);
    assert.ok(validates(xml));
    assert.match(
      xml,
      '<meta direction="original" leg="client"><layer3 protonum="10" protoname="ipv6">' +
        '<src>2001:db8::1:0:2</src><dst>2001:db8::100</dst></layer3>' +
        '<layer4 protonum="6" protoname="tcp"><sport>40001</sport><dport>80</dport></layer4>' +
        '<counters><packets>12</packets><bytes>3456</bytes></counters></meta>' +
        '<meta direction="reply" leg="server"><layer3 protonum="2" protoname="ipv4">',
    );
    assert.match(
      xml,
      '<counters><packets>9007199254740991</packets><bytes>4294967296</bytes></counters></meta><meta direction="independent">',
    );
    const { client, real, packets, bytes } = JSON.parse(dump('json', counted(), NAMES, {}, true));
    assert.equal(client, { address: '2001:db8::1:0:2', port: 40001 });
    assert.equal(real, { address: '10.2.0.11', port: 8080 });
    assert.equal(packets, { original: 12, reply: 9007199254740991 });
    assert.equal(bytes, { original: 3456, reply: 4294967296 });
  },
);

renderings('of no record are whole too', () => {
  const none = new Uint8Array(0);
  assert.is(dump('text', none), RENDERINGS.text.head(false));
  assert.is(dump('json', none), '');
  assert.ok(validates(dump('xml', none)));
});

/** Every field at its worst: all ones, noise, IPv6, names from a hostile peer. */
function nasty(): { bytes: Uint8Array; names: NodeNames } {
  const bytes = new Uint8Array(600 * RECORD_SIZE);
  const record = new RecordView(bytes);
  let x = 2463534242;
  for (let i = 0; i < bytes.length; i++) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    bytes[i] = x;
  }
  bytes.fill(0xff, 0, RECORD_SIZE);
  bytes.fill(0, RECORD_SIZE, 2 * RECORD_SIZE);
  const hostile = [
    '</origin><flow/>&amp;<![CDATA[',
    `"'&<>\u0000\u0001\u0008\u000b\u000c\u001b[31m\ud800\uffff\ufffe`,
    'ü€😀 two\twords\nand a line',
    '',
  ];
  const names = new Map<number, string>();
  hostile.forEach((name, i) => {
    record.offset = (2 + i) * RECORD_SIZE;
    names.set(record.origin, name);
    names.set(record.owner, name);
  });
  for (let i = 0; i < 7; i++) {
    record.offset = (10 + i) * RECORD_SIZE;
    record.setState(0, i);
    record.setState(1, i);
    record.tuple(0).source = '2001:db8::1';
    record.tuple(0).destination = '::';
  }
  return { bytes, names };
}

function validates(xml: string): boolean {
  const lint = spawnSync('xmllint', ['--noout', '--stream', '--schema', XSD, '-'], {
    input: xml,
    encoding: 'utf8',
  });
  if (lint.error) throw lint.error;
  if (lint.status !== 0) console.error(lint.stderr.slice(0, 2000));
  return lint.status === 0;
}

renderings('XML of the worst values validates', () => {
  const { bytes, names } = nasty();
  const xml = dump('xml', bytes, names);
  assert.ok(validates(xml));
  assert.is(xml.match(/<flow>/g)?.length, 600);
  assert.match(xml, '<origin>&lt;/origin&gt;&lt;flow/&gt;&amp;amp;&lt;![CDATA[</origin>');
  assert.match(xml, '<origin>&quot;&apos;&amp;&lt;&gt;[31m</origin>');
});

renderings('XML keeps every character that may stand in it', () => {
  const kept = 'aü€\ud7ff\ue000\ufffd😀\t\n\r';
  assert.is(escapeXml(kept), kept);
});

renderings('the schema refuses what no dump says', () => {
  const xml = dump('xml', full().bytes);
  for (const [from, to] of [
    ['<state>SPLICED<', '<state>SPLICEd<'],
    ['<dport>80<', '<dport>65536<'],
    ['flags="FIN0', 'flags="FIN2'],
    ['<src>10.1.0.2</src>', ''],
    ['<splice ', '<splice more="1" '],
  ] as const) {
    assert.ok(xml.includes(from));
    const lint = spawnSync('xmllint', ['--noout', '--schema', XSD, '-'], {
      input: xml.replace(from, to),
    });
    assert.is(lint.status, 3, `${to} should not validate`);
  }
});

renderings('text of the worst values keeps its columns, a line each', () => {
  const { bytes, names } = nasty();
  const lines = dump('text', bytes, names).trimEnd().split('\n');
  assert.is(lines.length, 601);
  // An empty name is no column; a peer that has none is shown by its id.
  const wrong = lines.filter(
    (line) => line.trim().split(/ +/).length !== 15 || /[^ -~]/.test(line),
  );
  assert.equal(wrong, []);
});

renderings('JSON of the worst values parses', () => {
  const { bytes, names } = nasty();
  const lines = dump('json', bytes, names).trimEnd().split('\n');
  assert.is(lines.map((line) => JSON.parse(line)).length, 600);
});

renderings('are UTF-8, and numbers of every size have all their digits', () => {
  const page = new Page();
  const written = (fill: () => void): string => {
    fill();
    return Buffer.from(page.take()).toString('utf8');
  };
  for (const name of ['ascii', 'aß', 'a\u07ff\u0800\uffff', 'lb-日本', '😀\u{10ffff}z']) {
    assert.is(
      written(() => page.text(name)),
      name,
    );
  }
  assert.is(
    written(() => page.text('a\ud800z')),
    'a\ufffdz',
  );
  for (let digits = 0; digits < 16; digits++) {
    for (const number of [10 ** digits - 1, 10 ** digits, 7 * 10 ** digits + 1]) {
      assert.is(
        written(() => page.decimal(number)),
        String(number),
      );
    }
  }
  assert.is(
    written(() => page.decimal(Number.MAX_SAFE_INTEGER)),
    '9007199254740991',
  );
});

renderings('come in pieces, however many records there are', () => {
  const bytes = records(5000);
  let pieces = 0;
  for (const piece of renderRecords(RENDERINGS.xml, bytes, { names: NAMES })) {
    pieces++;
    assert.ok(piece.length < 512 * 1024);
  }
  assert.ok(pieces >= 5000 / 256);
});

const filters = suite('filters');

function ids(filter: FilterOptions): string[] {
  const bytes = records(4); // real servers .11 .12 .13 .11
  const record = new RecordView(bytes);
  record.offset = RECORD_SIZE;
  record.tuple(0).source = '10.9.0.2';
  record.setState(1, State.TIMEWAIT);
  record.offset = 3 * RECORD_SIZE;
  record.tuple(0).source = '2001:db8::2';
  record.tuple(0).destinationPort = 443;
  return dump('json', bytes, NAMES, filter)
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => (JSON.parse(line) as { id: string }).id);
}

filters('keep what all of them name', () => {
  assert.equal(ids({}), ['1', '2', '3', '4']);
  assert.equal(ids({ src: '10.1.0.2' }), ['1', '3']);
  assert.equal(ids({ src: '10.0.0.0/8' }), ['1', '2', '3']);
  assert.equal(ids({ src: '10.8.0.0/13' }), ['2']);
  assert.equal(ids({ src: '0.0.0.0/0' }), ['1', '2', '3']);
  assert.equal(ids({ src: '2001:db8::/32' }), ['4']);
  assert.equal(ids({ src: '::/0' }), ['1', '2', '3', '4']);
  assert.equal(ids({ dst: '10.1.0.100', sport: '40003' }), ['3']);
  assert.equal(ids({ dport: '443' }), ['4']);
  assert.equal(ids({ state: 'timewait' }), ['2']);
  assert.equal(ids({ service: '10.2.0.11:8080' }), ['1', '4']);
  assert.equal(ids({ service: '10.1.0.100:80' }), ['1', '2', '3']);
  assert.equal(ids({ service: '[::ffff:10.1.0.100]:443' }), ['4']);
  assert.equal(ids({ src: '10.1.0.2', dport: '443' }), []);
});

filters('refuse what they cannot mean', () => {
  const wrong: FilterOptions[] = [
    { src: 'lb-a' },
    { src: '10.1.0.256' },
    { src: '10.1.0.2/33' },
    { src: '10.1.0.2/8/8' },
    { src: '10.1.0.2/' },
    { dst: '2001:db8::/129' },
    { sport: '0' },
    { dport: '65536' },
    { dport: 'http' },
    { state: 'OPEN' },
    { state: 'constructor' },
    { service: '10.1.0.100' },
    { service: '10.1.0.100:0' },
    { service: '2001:db8::1:80' },
  ];
  for (const filter of wrong) {
    assert.throws(
      () => makeFilter(filter),
      (error: Error) => error instanceof RangeError && error.message.includes('expected'),
      JSON.stringify(filter),
    );
  }
});

renderings.run();
filters.run();
