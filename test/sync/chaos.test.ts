// Everything at once, by seed: births, ends, partitions, losses, restarts, takeovers. When the link
// is whole again, all nodes agree, every splice has one owner, and nothing has risen from the dead.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { RecordView } from '../../kernel/record/record.js';
import { content, converged, type Faults, type Node, World } from './world.js';

const chaos = suite('chaos');
const SEEDS = 25;
const STEPS = 150;

const LINKS: Faults[] = [
  {},
  { loss: 0.3 },
  { loss: 0.1, duplication: 0.2, jitterMs: 10 },
  { jitterMs: 30 },
];

/** Claims under which splices were closed, the strongest for each. */
type Ends = Map<string, { epoch: number; owner: number }>;

class Run {
  readonly world: World;
  readonly nodes: Node[];
  readonly ends: Ends = new Map();
  readonly #cut = new Set<string>();

  constructor(seed: number) {
    this.world = new World(seed);
    const names = ['lb-a', 'lb-b', 'lb-c'].slice(0, 2 + (seed % 2));
    this.nodes = names.map((name) => this.world.node(name, { resendQueueSize: 1024 }));
    this.world.lose = (_, from, to) => this.#cut.has(from.name + to.name);
    for (const node of this.nodes) node.engine.start();
  }

  step(): void {
    const node = this.#one(this.nodes);
    const dice = this.#below(100);
    if (dice < 40) node.open(1 + this.#below(30));
    else if (dice < 60) this.#close(node);
    else if (dice < 70) for (const record of this.#owned(node).slice(0, 10)) node.change(record);
    else if (dice < 78) this.#part(node, this.#one(this.nodes));
    else if (dice < 88) this.#cut.clear();
    else if (dice < 91) node.commit();
    else if (dice < 93) this.#restart(node);
    else if (dice < 94) node.engine.bulk();
    else if (dice < 95) {
      node.engine.flush('internal');
      node.resync();
    } else this.world.faults = this.#one(LINKS);
    this.world.run(this.#below(3) === 0 ? this.#below(5000) : this.#below(60));
  }

  /** Does all come to rest once the link is whole? */
  settles(): boolean {
    this.#cut.clear();
    this.world.faults = {};
    const atRest = ({ engine }: Node) => engine.inSync && engine.unacknowledged() === 0;
    return this.world.until(() => this.nodes.every(atRest) && converged(...this.nodes), 15_000);
  }

  /** What must never be, whatever happened. */
  faults(): string[] {
    const found: string[] = [];
    const owners = new Map<string, string>();
    for (const node of this.nodes) {
      const kernel = [...node.kernel.keys()].sort().join();
      const cache = content(node.engine.internal).map((line) => line.split(' ')[0]);
      if (kernel !== cache.sort().join()) found.push(`${node.name}: cache and kernel differ`);
      for (const { identity, epoch, owner } of this.#owned(node)) {
        const other = owners.get(identity);
        if (other) found.push(`${identity} is owned by ${other} and ${node.name}`);
        owners.set(identity, node.name);
        const end = this.ends.get(identity);
        if (end && !beats({ epoch, owner }, end)) found.push(`${identity} rose on ${node.name}`);
      }
    }
    return found;
  }

  #close(node: Node): void {
    const owned = this.#owned(node);
    const closing: RecordView[] = [];
    for (let i = 0; i < 10 && owned.length > 0; i++) {
      closing.push(...owned.splice(this.#below(owned.length), 1));
    }
    for (const { identity, epoch, owner } of closing) {
      const before = this.ends.get(identity);
      if (!before || beats({ epoch, owner }, before)) this.ends.set(identity, { epoch, owner });
    }
    node.close(...closing);
  }

  /** A daemon that dies may take with it what nobody has heard from it: such ends bind nobody. */
  #restart(node: Node): void {
    node.restart();
    node.engine.start();
    for (const [identity, { owner }] of this.ends) {
      if (owner === node.id) this.ends.delete(identity);
    }
  }

  /** One way always, the other way most times. */
  #part(node: Node, other: Node): void {
    this.#cut.add(node.name + other.name);
    if (this.#below(3) > 0) this.#cut.add(other.name + node.name);
  }

  #owned(node: Node): RecordView[] {
    return [...node.kernel.values()].map((bytes) => new RecordView(bytes.slice()));
  }

  #one<T>(of: readonly T[]): T {
    return of[this.#below(of.length)];
  }

  #below(limit: number): number {
    return Math.floor(this.world.random() * limit);
  }
}

function beats(a: { epoch: number; owner: number }, b: { epoch: number; owner: number }): boolean {
  return a.epoch !== b.epoch ? a.epoch > b.epoch : a.owner > b.owner;
}

chaos(`after ${STEPS} mishaps and a whole link again, all is as it should be`, () => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    const run = new Run(seed);
    for (let step = 0; step < STEPS; step++) run.step();
    assert.ok(run.settles(), `seed ${seed}: the nodes do not agree`);
    assert.equal(run.faults(), [], `seed ${seed}`);
  }
});

chaos.run();
