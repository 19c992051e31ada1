// SPDX-License-Identifier: MIT
/** When the daemon says again where its addresses are, and what it says of failures. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Announcer } from '../../daemon/announcer.js';
import type { Log } from '../../daemon/log.js';
import type { Announcement } from '../../kernel/announce.js';

const test = suite('announcer');
const ADDRESSES = ['10.8.0.100', 'fd00:8::100'];

/** Time that passes when it is told to. */
class Timers {
  private now = 0;
  private readonly waiting = new Set<{ at: number; fn: () => void }>();

  after(ms: number, fn: () => void): { cancel(): void } {
    const timer = { at: this.now + ms, fn };
    this.waiting.add(timer);
    return { cancel: () => this.waiting.delete(timer) };
  }

  pass(ms: number): void {
    this.now += ms;
    for (const timer of [...this.waiting].filter(({ at }) => at <= this.now)) {
      this.waiting.delete(timer);
      timer.fn();
    }
  }
}

const onEth0 = (addresses: readonly string[]): Announcement[] =>
  addresses.map((address) => ({ address, device: 'eth0' }));

function heard(say: (addresses: readonly string[]) => Announcement[]) {
  const said: string[] = [];
  const warnings: Record<string, unknown>[] = [];
  const log = { warn: (what: Record<string, unknown>) => warnings.push(what) } as unknown as Log;
  const timers = new Timers();
  const hear = (addresses: readonly string[]): Announcement[] => {
    said.push(...addresses);
    return say(addresses);
  };
  const announcer = new Announcer(log, hear, (ms, fn) => timers.after(ms, fn));
  return { announcer, said, warnings, timers };
}

test('each address is announced at once, and 0.2, 1 and 3 s later, and then no more', () => {
  const { announcer, said, timers } = heard(onEth0);
  announcer.start(ADDRESSES);
  for (const [ms, times] of [
    [0, 1],
    [199, 1],
    [1, 2],
    [799, 2],
    [1, 3],
    [1999, 3],
    [1, 4],
    [60_000, 4],
  ]) {
    timers.pass(ms);
    assert.equal(said, Array.from({ length: times }, () => ADDRESSES).flat());
  }
  assert.equal(announcer.counters, { announced: 4 * ADDRESSES.length, announce_failed: 0 });
});

test('a later start takes the place of the one before, and stop ends it', () => {
  const { announcer, said, timers } = heard(onEth0);
  announcer.start(['10.8.0.1']);
  announcer.start(['10.8.0.2']);
  timers.pass(200);
  announcer.stop();
  timers.pass(60_000);
  assert.equal(said, ['10.8.0.1', '10.8.0.2', '10.8.0.2']);
});

test('what could not be said is counted and logged, by address and interface', () => {
  const address = '10.8.0.100';
  const { announcer, warnings } = heard(() => [
    { address, device: 'eth0', error: 'ENETDOWN' },
    { address, device: 'eth1' },
  ]);
  announcer.start([address]);
  assert.equal(announcer.counters, { announced: 1, announce_failed: 1 });
  assert.equal(warnings, [
    { code: 'NOT_ANNOUNCED', address, interface: 'eth0', error: 'ENETDOWN' },
  ]);
});

test('where nothing can be sent at all, that is counted and logged, and tried again', () => {
  const { announcer, said, warnings, timers } = heard(() => {
    throw new Error('no socket');
  });
  announcer.start(ADDRESSES);
  assert.equal(announcer.counters, { announced: 0, announce_failed: 1 });
  assert.is(warnings[0].error, 'no socket');
  timers.pass(200);
  assert.is(said.length, 2 * ADDRESSES.length);
});

test.run();
