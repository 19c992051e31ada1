// SPDX-License-Identifier: MIT
/** When the daemon says again where its addresses are, and what it says of failures. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Announcer } from '../../daemon/announcer.js';
import type { Log } from '../../daemon/log.js';
import type { Announcement } from '../../kernel/announce.js';
import { until } from './pair.js';

const test = suite('announcer');
const ADDRESSES = ['10.8.0.100', 'fd00:8::100'];

function heard(say: (address: string) => Announcement[]) {
  const said: string[] = [];
  const warnings: Record<string, unknown>[] = [];
  const log = { warn: (what: Record<string, unknown>) => warnings.push(what) } as unknown as Log;
  const announcer = new Announcer(log, (address) => {
    said.push(address);
    return say(address);
  });
  return { announcer, said, warnings };
}

test('each address is announced at once, and again a moment later', async () => {
  const { announcer, said } = heard(() => [{ device: 'eth0' }]);
  try {
    announcer.start(ADDRESSES);
    assert.equal(said, ADDRESSES);
    await until('the second time', 5, () => said.length >= 4);
    assert.equal(said.slice(2, 4), ADDRESSES);
    assert.is(announcer.counters.announced, said.length);
    assert.is(announcer.counters.announce_failed, 0);
  } finally {
    announcer.stop();
  }
});

test('a later start takes the place of the one before, and stop ends it', async () => {
  const { announcer, said } = heard(() => [{ device: 'eth0' }]);
  announcer.start(['10.8.0.1']);
  announcer.start(['10.8.0.2']);
  await until('the second time', 5, () => said.length >= 3);
  announcer.stop();
  assert.equal(said.slice(0, 3), ['10.8.0.1', '10.8.0.2', '10.8.0.2']);
  const { length } = said;
  await new Promise((resolve) => setTimeout(resolve, 1000));
  assert.is(said.length, length);
});

test('what could not be said is counted and logged, and does not keep the rest from being said', () => {
  const { announcer, said, warnings } = heard((address) => {
    if (address === 'fd00:8::100') throw new Error('no socket');
    return [{ device: 'eth0', error: 'ENETDOWN' }, { device: 'eth1' }];
  });
  try {
    announcer.start(['fd00:8::100', '10.8.0.100']);
    assert.equal(said, ['fd00:8::100', '10.8.0.100']);
    assert.equal(announcer.counters, { announced: 1, announce_failed: 2 });
    assert.equal(
      warnings.map(({ code, address, interface: device, error }) => [code, address, device, error]),
      [
        ['NOT_ANNOUNCED', 'fd00:8::100', undefined, 'no socket'],
        ['NOT_ANNOUNCED', '10.8.0.100', 'eth0', 'ENETDOWN'],
      ],
    );
  } finally {
    announcer.stop();
  }
});

test.run();
