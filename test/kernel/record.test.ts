// SPDX-License-Identifier: MIT
/** TypeScript's view of the record is the compiler's, and reads and writes what it says. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { arch, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { generateLayout } from '../../kernel/generate-layout.js';
import {
  CALL_SIZE,
  ENTRY_SIZE,
  EVENT_SIZE,
  RECORD_SIZE,
  RecordOffset,
  SNAPSHOT_SIZE,
  State,
  TUPLE_SIZE,
} from '../../kernel/record/layout.js';
import {
  compareClaims,
  eventRecord,
  formatAddress,
  newRecord,
  nodeId,
  parseAddress,
  RecordView,
  stateName,
} from '../../kernel/record/record.js';

const RECORD_DIR = fileURLToPath(new URL('../../kernel/record/', import.meta.url));

const layout = suite('the layout of the record');

/** Compiles C beside record.h for BPF, as the eBPF programs are, and gives the object to `use`. */
function compile(source: string, use: (object: string) => void): void {
  const dir = mkdtempSync(join(tmpdir(), 'spliced-record-'));
  const object = join(dir, 'types.o');
  const machine = arch() === 'arm64' ? 'aarch64' : 'x86_64';
  const flags = `-g -target bpfel -Wall -Werror -I/usr/include/${machine}-linux-gnu -I${RECORD_DIR}`;
  try {
    const args = [...flags.split(' '), '-c', '-x', 'c', '-', '-o', object];
    execFileSync('clang', args, { input: source, stdio: ['pipe', 'inherit', 'inherit'] });
    use(object);
  } finally {
    rmSync(dir, { recursive: true });
  }
}

layout('layout.ts is what the compiler makes of record.h today', () => {
  compile(readFileSync(`${RECORD_DIR}types.c`, 'utf8'), (object) => {
    const fresh = generateLayout(object, `${RECORD_DIR}record.h`);
    assert.is(readFileSync(`${RECORD_DIR}layout.ts`, 'utf8'), fresh);
  });
});

layout('the compiler agrees with every size and offset that TypeScript uses', () => {
  const sizes = {
    splice_record: RECORD_SIZE,
    splice_tuple: TUPLE_SIZE,
    splice_event: EVENT_SIZE,
    splice_entry: ENTRY_SIZE,
    splice_call: CALL_SIZE,
    splice_snapshot: SNAPSHOT_SIZE,
  };
  const snake = (name: string) => name.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`);
  const source = [
    '#include <stddef.h>',
    '#include <linux/types.h>',
    '#include "record.h"',
    ...Object.entries(sizes).map(
      ([name, size]) => `_Static_assert(sizeof(struct ${name}) == ${size}, "${name}");`,
    ),
    ...Object.entries(RecordOffset).map(
      ([name, at]) =>
        `_Static_assert(offsetof(struct splice_record, ${snake(name)}) == ${at}, "${name}");`,
    ),
  ].join('\n');
  compile(source, () => {});
});

layout('no two fields of the record overlap, and none is beyond its end', () => {
  const offsets = Object.values(RecordOffset);
  assert.equal(
    offsets,
    [...new Set(offsets)].sort((a, b) => a - b),
  );
  assert.ok(offsets.every((at) => at < RECORD_SIZE));
});

layout.run();

const record = suite('a view of the record');

record('what is written is read back, and lies where the header says', () => {
  const bytes = new Uint8Array(3 * RECORD_SIZE).fill(0xee);
  const r = new RecordView(bytes, RECORD_SIZE);
  r.id = 0x1122334455667788n;
  r.epoch = 0xfffffffe;
  r.flags = 0x8102;
  r.setState(1, State.FIN_RELAYED);
  r.setSeqDelta(1, 0xdeadbeef);
  r.setMss(1, 1460);
  r.tuple(1).source = '10.2.0.2';
  r.tuple(1).sourcePort = 8080;
  assert.is(r.id, 0x1122334455667788n);
  assert.is(r.epoch, 0xfffffffe);
  assert.is(r.flags, 0x8102);
  assert.is(stateName(r.state(1)), 'FIN_RELAYED');
  assert.is(r.seqDelta(1), 0xdeadbeef);
  assert.is(r.mss(1), 1460);
  assert.is(`${r.tuple(1).source}:${r.tuple(1).sourcePort}`, '10.2.0.2:8080');
  const at = RECORD_SIZE;
  assert.is(bytes[at], 0x88, 'integers are little-endian');
  const port = at + RecordOffset.tuple + TUPLE_SIZE + 32;
  assert.equal([...bytes.subarray(port, port + 2)], [0x1f, 0x90], 'ports are in network order');
  const mapped = at + RecordOffset.tuple + TUPLE_SIZE;
  assert.equal(
    [...bytes.subarray(mapped, mapped + 16)],
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 2, 0, 2],
  );
  const outside = [...bytes.subarray(0, at), ...bytes.subarray(at + RECORD_SIZE)];
  assert.ok(
    outside.every((byte) => byte === 0xee),
    'the neighbours are untouched',
  );
});

record('events are read in place', () => {
  const events = new Uint8Array(2 * EVENT_SIZE);
  eventRecord(events, 1).id = 7n;
  assert.is(eventRecord(events, 0).id, 0n);
  assert.is(new RecordView(events, 2 * EVENT_SIZE - RECORD_SIZE).id, 7n);
});

record('the higher epoch wins, then the higher owner, then the higher generation', () => {
  const claim = (epoch: number, owner: number, generation: number) => {
    const r = newRecord();
    Object.assign(r, { epoch, owner, generation });
    return r;
  };
  const rising = [
    claim(0, 0xffffffff, 9),
    claim(1, 1, 9),
    claim(1, 2, 1),
    claim(1, 2, 0xffffffff),
    claim(0xffffffff, 0, 0),
  ];
  for (const [i, a] of rising.entries()) {
    for (const [k, b] of rising.entries()) {
      assert.is(Math.sign(compareClaims(a, b)), Math.sign(i - k), `${i} against ${k}`);
    }
  }
});

record('a node id is FNV-1a of the name, never 0; other names are refused', () => {
  assert.is(nodeId('a'), 0xe40c292c); // from the algorithm's own test vectors
  assert.is(nodeId('foobar'), 0xbf9cf968);
  for (const name of ['', 'a b', 'ä', 'x'.repeat(64), 'a\n']) {
    assert.throws(() => nodeId(name), RangeError, name);
  }
});

record('addresses are written as RFC 5952 wants them, IPv4 as such', () => {
  const bytes = new Uint8Array(16);
  const written: [string, string][] = [
    ['10.1.0.2', '10.1.0.2'],
    ['::ffff:10.1.0.2', '10.1.0.2'],
    ['2001:DB8:0:0:0:0:0:1', '2001:db8::1'],
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['::', '::'],
    ['::1', '::1'],
    ['fe80::', 'fe80::'],
    ['64:ff9b::192.0.2.33', '64:ff9b::c000:221'],
  ];
  for (const [text, expected] of written) {
    parseAddress(text, bytes);
    assert.is(formatAddress(bytes), expected, text);
  }
});

record('what is no address is refused, and nothing is written', () => {
  const bytes = new Uint8Array(16).fill(0xee);
  const wrong =
    ',10.1.0,10.1.0.256,10.1.0.01,1.2.3.4.5,::1::,1:2:3:4:5:6:7,1:2:3:4:5:6:7:8:9,12345::,::g,' +
    '1:2:3:4:5:6:7::8,10.0.0.1::, ::1,:1,1:,:::,1.2.3.4:80,fe80::1%eth0';
  for (const text of wrong.split(',')) {
    assert.throws(() => parseAddress(text, bytes), RangeError, `"${text}"`);
  }
  assert.ok(bytes.every((byte) => byte === 0xee));
});

record.run();
