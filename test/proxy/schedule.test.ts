import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { RealServer } from '../../proxy/config.js';
import { type Candidate, REST_MS, Rota } from '../../proxy/schedule.js';

const schedule = suite('schedulers');

const servers = (...weights: number[]): RealServer[] =>
  weights.map((weight, i) => ({ address: `10.2.0.${i + 1}`, port: 80, weight }));

const nothing: ReadonlySet<Candidate> = new Set();
const held = (candidate: Candidate) => candidate.held;
const letter = (candidate: Candidate | undefined) =>
  candidate ? 'abcdefgh'[Number(candidate.real.address.split('.')[3]) - 1] : '-';

/** As many turns, written as letters; `keep` leaves every connection open. */
function turns(rota: Rota, count: number, keep = false): string {
  let text = '';
  for (let i = 0; i < count; i++) {
    const candidate = rota.next(nothing, held);
    if (keep && candidate) candidate.held++;
    text += letter(candidate);
  }
  return text;
}

const tally = (text: string) =>
  [...text].reduce<Record<string, number>>((sum, c) => {
    sum[c] = (sum[c] ?? 0) + 1;
    return sum;
  }, {});

schedule('rr gives each its turn, in order', () => {
  assert.is(turns(new Rota(servers(1, 1, 1), 'rr', () => 0), 7), 'abcabca');
});

schedule('rr by weight is exact over every round, and spread out', () => {
  const rota = new Rota(servers(5, 1, 1), 'rr', () => 0);
  for (let round = 0; round < 3; round++) assert.is(turns(rota, 7), 'aabacaa');
});

schedule('rr of equal weights does not care how large they are', () => {
  assert.is(turns(new Rota(servers(65_535, 65_535), 'rr', () => 0), 6), 'ababab');
});

schedule('weight 0 takes no new connection', () => {
  assert.is(turns(new Rota(servers(1, 0, 1), 'rr', () => 0), 4), 'acac');
  assert.is(turns(new Rota(servers(0), 'lc', () => 0), 1), '-');
});

schedule('lc fills up by weight', () => {
  const rota = new Rota(servers(1, 2, 3), 'lc', () => 0);
  assert.equal(tally(turns(rota, 60, true)), { a: 10, b: 20, c: 30 });
});

schedule('lc sends a new connection where one has ended', () => {
  const rota = new Rota(servers(1, 1, 1), 'lc', () => 0);
  turns(rota, 30, true);
  rota.candidates[1].held -= 3;
  assert.is(turns(rota, 3, true), 'bbb');
});

schedule('lc counts what the datapath has, not only what this process holds', () => {
  const rota = new Rota(servers(1, 1), 'lc', () => 0);
  const load = (c: Candidate) => c.held + (letter(c) === 'a' ? 4 : 0);
  let text = '';
  for (let i = 0; i < 4; i++) {
    const candidate = rota.next(nothing, load);
    if (candidate) candidate.held++;
    text += letter(candidate);
  }
  assert.is(text, 'bbbb');
});

schedule('lc takes turns among equals', () => {
  assert.is(turns(new Rota(servers(1, 1, 1), 'lc', () => 0), 6), 'abcabc');
});

for (const name of ['rr', 'lc'] as const) {
  schedule(`${name} goes on to the next, until all were tried`, () => {
    const rota = new Rota(servers(3, 1, 1), name, () => 0);
    const tried = new Set<Candidate>();
    let text = '';
    for (;;) {
      const candidate = rota.next(tried, held);
      if (!candidate) break;
      tried.add(candidate);
      text += letter(candidate);
    }
    assert.is([...text].sort().join(''), 'abc');
  });
}

schedule('one that failed rests, unless no other is left', () => {
  let now = 0;
  const rota = new Rota(servers(1, 1), 'rr', () => now);
  rota.failed(rota.candidates[0]);
  assert.is(turns(rota, 3), 'bbb');
  rota.failed(rota.candidates[1]);
  assert.equal(tally(turns(rota, 4)), { a: 2, b: 2 });
  rota.served(rota.candidates[0]);
  assert.is(turns(rota, 2), 'aa');
  now = REST_MS;
  assert.equal(tally(turns(rota, 4)), { a: 2, b: 2 });
});

schedule('a new list keeps the counts of those that stay', () => {
  const rota = new Rota(servers(1, 1, 1), 'lc', () => 0);
  turns(rota, 6, true);
  const [, b, c] = servers(1, 1, 1);
  rota.update([c, { ...b, weight: 4 }], 'lc');
  assert.equal(tally(turns(rota, 6, true)), { b: 6 });
  rota.update([b], 'rr');
  assert.is(turns(rota, 2), 'bb');
});

schedule.run();
