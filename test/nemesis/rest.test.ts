// SPDX-License-Identifier: MIT
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { entriesLeft } from './rest.js';

const test = suite('what is left at the end of a run');

function status(o: { live?: number; held?: number; internal?: number; external?: number }) {
  const { live = 0, held = 0, internal = 0, external = 0 } = o;
  return {
    node: 'lb-a',
    table: { live, held, size: 256 },
    internal: { entries: internal, limit: 256 },
    external: { entries: external, limit: 256 },
  };
}

test('nothing is nothing', () => {
  assert.equal(entriesLeft(status({})), []);
});

test('standby entries are counted by themselves, beside those of the node', () => {
  assert.equal(entriesLeft(status({ live: 3, held: 2 })), [
    '1 of its own in the kernel of lb-a',
    '2 standby in the kernel of lb-a',
  ]);
  assert.equal(entriesLeft(status({ live: 2, held: 2 })), ['2 standby in the kernel of lb-a']);
});

test('each cache is named', () => {
  assert.equal(entriesLeft(status({ internal: 1, external: 4 })), [
    '1 in the internal cache of lb-a',
    '4 in the external cache of lb-a',
  ]);
});

test.run();
