// SPDX-License-Identifier: MIT
/** Entries that change hands where they stand: claimed by this node, or lost to another one. */
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { bpf, libc } from '../../kernel/native.js';
import { openPin } from '../../kernel/pins.js';
import { EventType, Flag, Result, SERVICE_SIZE, State } from '../../kernel/record/layout.js';
import type { RecordView } from '../../kernel/record/record.js';
import { PIN_PATH } from '../support/golden.js';
import { isolateOrSkip } from '../support/isolate.js';
import { timely } from '../support/timely.js';
import {
  DATA,
  FIN,
  FIN_ACKNOWLEDGED,
  HeldSplice,
  isHeld,
  ME,
  PEER,
  RESET,
  SWEEP_MS,
  SYN,
  states,
} from './held.js';

await isolateOrSkip(import.meta.url);
const held = await HeldSplice.open();
const { golden, table } = held;
const { datapath } = golden;

const test = suite('entries that change hands');
const real = timely(test, 10_000);

/** How often that goes up during the body. */
async function counted(name: Parameters<typeof datapath.counter>[0], body: () => unknown) {
  const before = datapath.counter(name);
  await body();
  return datapath.counter(name) - before;
}
const demote = (r: RecordView): number => table.demote(r.bytes)[0];
/** The claim that has beaten this node's own. */
const lost = (change: (r: RecordView) => void = () => {}): RecordView =>
  held.own((r) => {
    r.owner = PEER;
    r.epoch = 4;
    r.remainingMs = 60_000;
    change(r);
  });
/** As schedule_lc counts them, of the only service there is. */
function liveSplices(): number {
  const fd = openPin(PIN_PATH, 'services');
  try {
    const key = Buffer.alloc(SERVICE_SIZE);
    const count = Buffer.alloc(4);
    if (bpf().mapNextKey(fd, null, key) === 0) bpf().mapLookup(fd, key, count);
    return count.readInt32LE();
  } finally {
    libc.close(fd);
  }
}
/** What tells of the server's window. */
const BACK = {
  title: 'an acknowledgement',
  in: 'server  > proxy  A seq   7000 ack 51000 win 80 ttl 64',
  out: 'virtual > client A seq 907000 ack  1000 win 10 ttl 63',
} as const;
const claimKnown = (r: RecordView): number => table.insert(r.bytes, { known: true })[0];
const claimOf = (r: RecordView): number[] => [r.owner, r.epoch, r.generation];

test.before.each(() => held.empty());
test.after(() => held.close());

real('a claim makes it own: what packets have taught stays, and FINs are told now', async () => {
  held.put(held.said());
  golden.step(FIN);
  assert.is(await counted('standby_taken', () => held.put(held.claim())), 1);
  const r = held.only();
  assert.not(isHeld(r));
  assert.equal(claimOf(r), [ME, 4, 6]);
  assert.is(states(r), 'SPLICED FIN_RELAYED');
  assert.is(held.entry().packets[0], 1, 'the live part is the same');
  const update = { type: EventType.UPDATE, owner: ME, epoch: 4, generation: 6 };
  assert.equal(await held.events(), [update]);
  assert.ok(r.remainingMs <= 120_000, `${r.remainingMs}: its own time counts again`);
  assert.is(held.put(held.said()), Result.EXISTS, 'the peer that has lost it does not get it back');
});

real('what it has sent by way of another node meanwhile is not outside its window', () => {
  const later = 20_000_000;
  const fin = {
    title: 'a FIN, far from what was seen before',
    in: `client > virtual FA seq ${1000 + later} ack ${907_000 + later} win 512 ttl 64`,
    out: `proxy > server  FA seq ${51_000 + later} ack ${7000 + later} win 256 ttl 63`,
  };
  held.put(held.own());
  golden.step(DATA);
  golden.step(BACK);
  assert.is(demote(lost()), Result.OK);
  const again = held.own((r) => {
    r.epoch = 5;
    r.generation = 7;
  });
  assert.is(held.put(again), Result.OK);
  golden.step(fin);
});

real(
  'both FINs and their acknowledgements that came before: its claim says that it has closed',
  async () => {
    held.put(held.said());
    golden.step(FIN);
    golden.step(FIN_ACKNOWLEDGED);
    const closing = held.claim((r) => {
      r.flags |= Flag.FIN1 | Flag.FINACK1;
      r.setState(0, State.SHUTDOWN);
    });
    assert.is(held.put(closing), Result.OK);
    assert.is(states(held.only()), 'TIMEWAIT TIMEWAIT');
  },
);

real('a claim does not bring to life what a reset has torn down, and says its end', async () => {
  held.put(held.said());
  golden.step(DATA);
  golden.step(FIN_ACKNOWLEDGED);
  golden.step(RESET);
  assert.is(held.put(held.claim()), Result.OK);
  const r = held.only();
  assert.is(states(r), 'CLOSE CLOSE');
  assert.not(isHeld(r));
  assert.ok(r.remainingMs <= 10_000, `${r.remainingMs}: it goes in a short while`);
  const end = { type: EventType.DESTROY, owner: ME, epoch: 4, generation: 6 };
  assert.equal((await held.events()).at(-1), end);
});

real(
  'what gave way to a new connection is told, and a claim of what is known does not raise it',
  async () => {
    held.put(held.said());
    golden.step(FIN_ACKNOWLEDGED);
    golden.step(RESET);
    golden.step({ title: 'a new connection', ...SYN, verdict: 'stack', states: 'gone' });
    assert.is(claimKnown(held.claim()), Result.NOT_FOUND);
    assert.equal(held.dump(), []);
    const { type, owner } = (await held.events())[0];
    assert.equal([type, owner], [EventType.DESTROY, PEER]);
  },
);

real('a claim of what is known takes it over where it is held', () => {
  held.put(held.said());
  assert.is(claimKnown(held.claim()), Result.OK);
  assert.equal(claimOf(held.only()), [ME, 4, 5]);
  assert.is(claimKnown(held.claim()), Result.EXISTS);
});

real('a SYN on a live one asks; the claim in between does not forget that', () => {
  held.put(held.said());
  golden.step({
    title: 'a SYN',
    ...SYN,
    out: 'virtual > client A seq 906999 ack 1000 win 0 ttl 64',
    swapsMacs: true,
  });
  assert.ok(held.only().remainingMs <= 5000);
  held.put(held.claim());
  assert.ok(
    held.only().remainingMs <= 5000,
    'no answer: it goes, and the SYN that comes again passes',
  );
});

real(
  'one without a packet for long is asked after its claim, whoever has seen the last one',
  () => {
    held.put(held.said());
    golden.step(DATA);
    const idle = (ms: number) =>
      held.said((r) => {
        r.generation++;
        r.idleMs = ms;
      });
    held.put(idle(30_000));
    assert.ok(held.only().idleMs < 5000, 'the later packet counts');
    held.put(held.claim());
    assert.equal([...table.unproven(0)], [], 'it has shown that it lives');
    golden.reset();
    table.flush();
    held.put(idle(30_000));
    held.put(
      held.claim((r) => {
        r.idleMs = 30_000;
        r.remainingMs = 3000;
      }),
    );
    assert.is([...table.unproven(0)].flat().length, 1);
    assert.ok(held.only().remainingMs <= 3000);
  },
);

real('an own entry that is lost to another becomes standby where it stands', async () => {
  held.put(held.own());
  golden.step(DATA);
  const demoted = await counted('demoted', () => assert.is(demote(lost()), Result.OK));
  assert.is(demoted, 1);
  const r = held.only();
  assert.ok(isHeld(r));
  assert.equal(claimOf(r), [PEER, 4, 0]);
  golden.step(DATA);
  assert.is(held.entry().packets[0], 2, 'it has not been away');
  assert.is(await counted('destroyed', () => held.put(held.said((o) => (o.epoch = 4)))), 0);
  assert.equal(claimOf(held.only()), [PEER, 4, 4], 'the next word of its owner holds');
  assert.equal(await held.events(), []);
});

real(
  'the same when the new owner is heard before: a standby record over an own entry',
  async () => {
    held.put(held.own());
    golden.step(DATA);
    golden.step(FIN);
    assert.is(held.put(held.said((r) => (r.epoch = 2))), Result.EXISTS, 'a weaker claim');
    const other = held.said((r) => {
      r.epoch = 2;
      r.id = 77n;
    });
    assert.is(held.put(other), Result.TUPLE_TAKEN);
    assert.not(isHeld(held.only()));
    const gone = await counted('destroyed', () => assert.is(held.put(held.said()), Result.OK));
    assert.is(gone, 0, 'of one epoch the higher node wins, and it is not removed for that');
    assert.ok(isHeld(held.only()));
    assert.is(held.entry().packets[0], 2);
    assert.is(states(held.only()), 'SPLICED FIN_RELAYED');
    assert.equal(
      (await held.events()).map(({ owner }) => owner),
      [ME],
      'its FIN, before',
    );
  },
);

real('what is lost goes when nobody wants it, and nobody is told', async () => {
  held.put(held.own());
  assert.is(demote(lost((r) => (r.remainingMs = 300))), Result.OK);
  assert.ok(held.only().remainingMs <= 300);
  assert.is(demote(lost((r) => (r.remainingMs = 60_000))), Result.OK);
  assert.ok(held.only().remainingMs <= 300, 'its time is not prolonged');
  const expired = await counted('standby_expired', () => sleep(300 + SWEEP_MS));
  assert.is(expired, 1);
  assert.equal(held.dump(), []);
  assert.equal(await held.events(), []);
});

real('its owner, or a commit, takes it out of that', () => {
  held.put(held.own());
  demote(lost());
  held.put(held.said((r) => (r.epoch = 4)));
  assert.ok(held.only().remainingMs > 60_000);
  demote(lost());
  const back = held.claim((r) => (r.epoch = 5));
  assert.is(held.put(back), Result.OK);
  assert.not(isHeld(held.only()));
  assert.ok(held.only().remainingMs > 60_000);
});

for (const when of ['before', 'after'] as const) {
  real(`numbers from before another node had it are forgotten, ${when} the claim`, () => {
    held.put(held.own());
    golden.step(DATA);
    golden.step(BACK);
    demote(lost());
    golden.step(DATA);
    datapath.takenOver();
    const back = held.claim((r) => {
      r.epoch = 5;
    });
    if (when === 'after') held.put(back);
    golden.step({
      title: 'a FIN, 50 MB later',
      in: 'client > virtual FA seq 50001000 ack 907000 win 512 ttl 64',
      out: 'proxy > server  FA seq 50051000 ack   7000 win 256 ttl 63',
      states: ['SPLICED', 'FIN_RELAYED'],
    });
    assert.equal(held.entry().packets, [1, 0], 'counted from the takeover on');
    golden.step({
      title: 'its acknowledgement',
      in: 'server  > proxy  A seq   7000 ack 50051001 win 80 ttl 64',
      out: 'virtual > client A seq 907000 ack 50001001 win 10 ttl 63',
      states: ['SPLICED', 'SHUTDOWN'],
    });
    if (when === 'before') held.put(back);
    assert.is(states(held.only()), 'SPLICED SHUTDOWN');
    assert.not(isHeld(held.only()));
    assert.equal([...table.unproven(0)], [], 'it has shown that it lives');
  });
}

real(
  'an own flow is asked after when nothing has come since this node took over: it may have ended elsewhere',
  () => {
    held.put(held.own());
    golden.step(DATA);
    assert.equal([...table.unproven(0)], [], 'it lives');
    datapath.takenOver();
    assert.is([...table.unproven(0)].flat().length, 1);
    golden.step(BACK);
    assert.equal([...table.unproven(0)], [], 'it has shown that it still does');
  },
);

real("only what is this node's under a weaker claim is given up", () => {
  assert.is(demote(lost()), Result.NOT_FOUND);
  held.put(held.own((r) => (r.epoch = 5)));
  assert.is(demote(lost()), Result.EXISTS);
  assert.not(isHeld(held.only()));
});

real('an own entry is not away either while this node claims it anew', async () => {
  held.put(held.own());
  golden.step(FIN);
  assert.is(await counted('destroyed', () => held.put(held.claim())), 0);
  assert.is(held.entry().packets[0], 1);
  assert.is(states(held.only()), 'SPLICED FIN_RELAYED');
});

real('the live splices of a real server are the same, whoever owns them', () => {
  const live = liveSplices;
  assert.is(live(), 0);
  held.put(held.said());
  held.put(held.claim());
  assert.is(live(), 1);
  demote(lost((r) => (r.epoch = 6)));
  assert.is(live(), 1);
  golden.step(FIN_ACKNOWLEDGED);
  golden.step(RESET);
  assert.is(live(), 0);
  held.put(held.claim((r) => (r.epoch = 7)));
  assert.is(live(), 0);
});

test.run();
