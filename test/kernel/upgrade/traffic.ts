// SPDX-License-Identifier: MIT
/** Streams and short transfers through a proxy that splices them, and every byte looked at. */
import type { Server, Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { type RefusalReason, type SpliceOutcome, splice } from '../../../kernel/splice.js';
import type { Transfer } from '../ends/client.js';
import type { TwoLegs } from '../two-legs.js';

const RAMP_MS = 150;
const TAIL_MS = 100;

/** Long ones in both directions, with and without a half-close, and short ones all the time. */
const STREAMS: Transfer[] = [
  { verb: 'GET', length: 5_000_000 },
  { verb: 'PUT', length: 1_500_000, paceMs: 4, piece: 20_000 },
  { verb: 'PUT', length: 1_000_000, paceMs: 3, piece: 12_000, finAfterMs: 20 },
  { verb: 'ALL', length: 400_000, paceMs: 5, piece: 9_000, finAfterMs: 1 },
  { verb: 'GET', length: 3_000 },
  { verb: 'GET', length: 100_000 },
];

export class Traffic {
  readonly outcomes: SpliceOutcome[] = [];
  readonly refusals: RefusalReason[] = [];
  readonly #legs: TwoLegs;

  constructor(legs: TwoLegs) {
    this.#legs = legs;
  }

  /** Start the proxy. */
  proxy(): Promise<Server> {
    // long streams need not be heavy ones
    const shape = ['tbf', 'rate', '100mbit', 'burst', '64kb', 'latency', '50ms'];
    this.#legs.in('server', 'tc', 'qdisc', 'add', 'dev', 'eth0', 'root', ...shape);
    return this.#legs.proxy((client, server, head) => {
      this.#serve(client, server, head).catch((error) => console.error(error));
    });
  }

  async #serve(client: Socket, server: Socket, head: Buffer): Promise<void> {
    const result = await splice(client, server, { toServer: head, settleTimeoutMs: 1000 });
    if (result.spliced) {
      this.outcomes.push(await result.committed);
      return;
    }
    this.refusals.push(result.reason);
    server.write(result.toServer);
    client.write(result.toClient);
    for (const [from, to] of [[client, server] as const, [server, client] as const]) {
      from.on('error', () => to.destroy());
      from.pipe(to);
    }
  }

  /** One that arrives whole. */
  async transfer(t: Transfer): Promise<void> {
    const { ok, answer } = await this.#legs.transfer(t);
    assert.ok(ok, `${t.verb} ${t.length}: ${answer}`);
  }

  /** While body runs, not one may break, and none may go without its splice. */
  async during(body: () => Promise<void>): Promise<void> {
    this.outcomes.length = this.refusals.length = 0;
    let over = false;
    let transfers = 0;
    const again = async (t: Transfer): Promise<void> => {
      do {
        await this.transfer(t);
        transfers++;
      } while (!over);
    };
    const traffic = Promise.allSettled(STREAMS.map(again));
    await sleep(RAMP_MS);
    try {
      await body();
      await sleep(TAIL_MS);
    } finally {
      over = true;
      await traffic;
    }
    const broken = (await traffic).flatMap((r) =>
      r.status === 'rejected' ? [r.reason.message] : [],
    );
    const others = this.outcomes.filter((outcome) => outcome !== 'committed');
    assert.equal(broken, [], `not spliced: ${this.refusals}; not committed: ${others}`);
    for (let i = 0; this.outcomes.length < transfers && i < 100; i++) await sleep(10);
    assert.equal(this.refusals, [], 'every pair was spliced');
    assert.equal(
      this.outcomes.filter((outcome) => outcome !== 'committed'),
      [],
      `of ${transfers} splices`,
    );
  }
}
