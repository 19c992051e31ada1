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

const onEth0 = (addresses: readonly string[]): Announcement[] =>
  addresses.map((address) => ({ address, device: 'eth0' }));

function heard(say: (addresses: readonly string[]) => Announcement[]) {
  const said: string[] = [];
  const warnings: Record<string, unknown>[] = [];
  const log = { warn: (what: Record<string, unknown>) => warnings.push(what) } as unknown as Log;
  const announcer = new Announcer(log, (addresses) => {
    said.push(...addresses);
    return say(addresses);
  });
  return { announcer, said, warnings };
}

test('each address is announced at once, and again a moment later', async () => {
  const { announcer, said } = heard(onEth0);
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
  const { announcer, said } = heard(onEth0);
  announcer.start(['10.8.0.1']);
  announcer.start(['10.8.0.2']);
  await until('the second time', 5, () => said.length >= 3);
  announcer.stop();
  assert.equal(said.slice(0, 3), ['10.8.0.1', '10.8.0.2', '10.8.0.2']);
  const { length } = said;
  await new Promise((resolve) => setTimeout(resolve, 1000));
  assert.is(said.length, length);
});

test('what could not be said is counted and logged, by address and interface', () => {
  const address = '10.8.0.100';
  const { announcer, warnings } = heard(() => [
    { address, device: 'eth0', error: 'ENETDOWN' },
    { address, device: 'eth1' },
  ]);
  try {
    announcer.start([address]);
    assert.equal(announcer.counters, { announced: 1, announce_failed: 1 });
    const [{ code, interface: device, error, ...rest }] = warnings;
    assert.equal([code, device, error], ['NOT_ANNOUNCED', 'eth0', 'ENETDOWN']);
    assert.equal(rest, { address });
  } finally {
    announcer.stop();
  }
});

test('where nothing can be sent at all, that is counted and logged, and tried again', async () => {
  const { announcer, said, warnings } = heard(() => {
    throw new Error('no socket');
  });
  try {
    announcer.start(ADDRESSES);
    assert.equal(announcer.counters, { announced: 0, announce_failed: 1 });
    assert.is(warnings[0].error, 'no socket');
    await until('the second time', 5, () => said.length >= 4);
  } finally {
    announcer.stop();
  }
});

test.run();
