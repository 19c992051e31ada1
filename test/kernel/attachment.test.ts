// SPDX-License-Identifier: MIT
/**
 * The two ways of hanging the programs on an interface, on this kernel: what one does to an older version of
 * itself, and to programs of somebody else. That packets pass by them is shown by every other test.
 */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { DIRECTIONS, TCX, WAYS, wayOf } from '../../kernel/attachment.js';
import { attachedIndex, attachInterface, detachInterface } from '../../kernel/interfaces.js';
import { bpf, libc } from '../../kernel/native.js';
import { openPin } from '../../kernel/pins.js';
import { Golden } from '../support/golden.js';
import { isolateOrSkip } from '../support/isolate.js';

await isolateOrSkip(import.meta.url);

const PIN_PATH = '/sys/fs/bpf/spliced';
const golden = await Golden.open();
const ifindex: number = libc.ifNameToIndex('front');
const programs = {
  ingress: openPin(PIN_PATH, 'prog_ingress'),
  egress: openPin(PIN_PATH, 'prog_egress'),
};
/** Programs on the interface's TCX ingress hook, whosoever. */
function onTcx(): number {
  const count: [number] = [0];
  bpf().progQuery(ifindex, TCX.ingress, 0, null, null, count);
  return count[0];
}

const attachment = suite('where the programs hang');

attachment('what is served is found by the way of this kernel', () => {
  assert.is(attachedIndex('front'), ifindex);
  for (const direction of DIRECTIONS) assert.ok(wayOf(ifindex).find(ifindex, direction));
});

for (const [name, way] of Object.entries(WAYS)) {
  const supported = name === 'clsact' || wayOf(ifindex) === WAYS.tcx;
  const test = supported ? attachment : attachment.skip;
  test(`${name}: attached twice is attached once, and detached once is gone`, () => {
    detachInterface('front');
    for (const direction of DIRECTIONS) {
      assert.is(way.find(ifindex, direction), undefined);
      for (let i = 0; i < 2; i++) assert.is(way.attach(ifindex, direction, programs[direction]), 0);
      assert.type(way.find(ifindex, direction), 'number');
      way.detach(ifindex, direction);
      assert.is(way.find(ifindex, direction), undefined);
      way.detach(ifindex, direction); // there is nothing, and that is no fault
    }
  });
}

attachment('a program of another name stays where it is, and ours beside it', () => {
  const other = openPin(PIN_PATH, 'prog_table_op');
  const { tcx } = WAYS;
  if (wayOf(ifindex) !== tcx) return;
  assert.is(tcx.attach(ifindex, 'ingress', other), 0);
  attachInterface('front', programs);
  assert.is(attachedIndex('front'), ifindex);
  assert.is(onTcx(), 2);
  detachInterface('front');
  assert.is(attachedIndex('front'), undefined);
  assert.is(onTcx(), 1, 'what is left there');
  libc.close(other);
});

attachment.after(async () => {
  for (const fd of Object.values(programs)) libc.close(fd);
  await golden.close();
});
attachment.run();
