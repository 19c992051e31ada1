/** What happens to the nodes and between them, one mishap at a time. */
import type { Dice } from './dice.js';
import type { Machine } from './machine.js';
import type { Network } from './network.js';
import type { Fault, Profile } from './profile.js';
import type { Scheduler } from './scheduler.js';
import type { Vrrp } from './vrrp.js';

export interface Scene {
  readonly dice: Dice;
  readonly profile: Profile;
  readonly machines: readonly Machine[];
  readonly network: Network;
  readonly scheduler: Scheduler;
  readonly vrrp: Vrrp;
  /** Many connections in a moment. */
  burst(machine: Machine): void;
  /** Somebody has emptied caches there. */
  emptied(machine: Machine): void;
  count(what: string): void;
  trace(line: () => string): void;
}

const AMBUSH = 30;
const AMBUSH_MS = 20;
const AMBUSH_DATAGRAMS = 5;

type Mishap = (scene: Scene, machine: Machine) => void;

/** Of each: how often, against the others, and what it does. */
const MISHAPS: readonly [Fault | undefined, number, Mishap][] = [
  [undefined, 4, conditions],
  [undefined, 3, mend],
  ['partition', 4, partition],
  ['narrow', 1, narrow],
  ['replay', 3, replay],
  ['garbage', 1, garbage],
  ['pause', 3, pause],
  ['daemon crash', 2, crashDaemon],
  ['daemon stop', 1, stopDaemon],
  ['machine crash', 1.5, crashMachine],
  ['two masters', 2, twoMasters],
  ['switchover', 2, switchover],
  ['operator', 2, operator],
  ['burst', 2, burst],
];

export function mishap(scene: Scene): void {
  const { dice, profile, machines, trace } = scene;
  const possible = MISHAPS.filter(([fault]) => fault === undefined || profile.faults.has(fault));
  let left = dice.part() * possible.reduce((sum, [, weight]) => sum + weight, 0);
  const chosen = possible.find(([, weight]) => {
    left -= weight;
    return left < 0;
  });
  const machine = dice.pick(machines);
  const [, , happen] = chosen ?? possible[0];
  trace(() => `-- ${happen.name} (${machine.name})`);
  happen(scene, machine);
}

function lines({ dice, machines, profile }: Scene): [Machine, Machine, number][] {
  const from = dice.pick(machines);
  const to = dice.pick(machines.filter((machine) => machine !== from));
  const path = dice.below(profile.paths);
  // one direction, or both
  return dice.chance(0.4)
    ? [[from, to, path]]
    : [
        [from, to, path],
        [to, from, path],
      ];
}

function disturb(scene: Scene, ...machines: Machine[]): void {
  const { now } = scene.scheduler;
  for (const machine of machines) machine.disturbedAt = Math.max(machine.disturbedAt, now);
}

function conditions(scene: Scene): void {
  const { dice, network, profile, count } = scene;
  const has = (fault: Fault) => profile.faults.has(fault) && dice.chance(0.6);
  for (const [from, to, path] of lines(scene)) {
    const now = {
      loss: has('loss') ? dice.pick([0.01, 0.1, 0.3, 0.7]) : 0,
      duplication: has('duplication') ? dice.pick([0.05, 0.3]) : 0,
      jitterMs: has('reordering') ? dice.pick([1, 5, 30, 300]) : 0,
      corruption: has('corruption') ? dice.pick([0.02, 0.2]) : 0,
      truncation: has('truncation') ? dice.pick([0.02, 0.2]) : 0,
    };
    network.setConditions(from, to, path, now);
    disturb(scene, from, to);
    count('bad conditions');
  }
}

function mend(scene: Scene): void {
  const { dice, network, machines, profile } = scene;
  if (dice.chance(0.5)) {
    network.heal();
    disturb(scene, ...machines);
    return;
  }
  for (const from of machines) {
    for (const to of machines) {
      for (let path = 0; path < profile.paths; path++) network.mend(from, to, path);
    }
  }
  disturb(scene, ...machines);
}

function partition(scene: Scene): void {
  const all = lines(scene);
  scene.count(all.length === 1 ? 'one-way partitions' : 'two-way partitions');
  for (const [from, to] of all) {
    disturb(scene, from, to);
    const { paths } = scene.profile;
    const only = scene.dice.chance(0.3) ? scene.dice.below(paths) : -1;
    for (let path = 0; path < paths; path++) {
      if (only < 0 || only === path) scene.network.cut(from, to, path);
    }
  }
}

function narrow(scene: Scene, machine: Machine): void {
  scene.count('narrow links');
  disturb(scene, ...scene.machines);
  scene.network.narrow(machine, scene.dice.pick([5, 50, 500]), scene.dice.pick([5, 50]));
}

/**
 * Without a seal nothing tells a recording of a dead node from a living one, until that is back; and in
 * ALARM nobody says that what comes so is not there any more, until CacheTimeout.
 */
function replay({ network, dice, machines, profile }: Scene, machine: Machine): void {
  if (profile.mode === 'ALARM' && !profile.sealed) return;
  const speaks = new Set<unknown>(profile.sealed ? machines : machines.filter((one) => one.daemon));
  network.replay(machine, 1 + dice.below(60), (sender) => speaks.has(sender));
}

function garbage({ network, dice, count, scheduler }: Scene, machine: Machine): void {
  count('garbage');
  const from = dice.pick(network.ports);
  for (let i = 0; i < 5; i++) {
    const bytes = new Uint8Array(dice.below(200)).map(() => dice.below(256));
    if (dice.chance(0.7))
      bytes.set([0x53, 0x50, 0x4c, 0x43, 1, 1 + dice.below(8)].slice(0, bytes.length));
    const parcel = { from, id: -1, path: 0, sentAt: scheduler.now, bytes, said: undefined };
    machine.arrive({ ...parcel, whole: false });
  }
}

function pause({ dice, count }: Scene, machine: Machine): void {
  count('pauses');
  machine.freeze(dice.pick([50, 300, 2000, 6000]));
}

function crashDaemon(scene: Scene, machine: Machine): void {
  const { dice, count, scheduler, profile } = scene;
  if (!machine.daemon) return;
  count('daemon crashes');
  machine.killDaemon();
  clock(dice, profile, machine, count);
  scheduler.after(dice.pick([10, 500, 5000]), () => machine.startDaemon());
  if (profile.sealed && profile.faults.has('replay')) ambush(scene, machine);
}

/** Somebody plays all that he has to a node that has just started, again and again. */
function ambush({ network, scheduler, count }: Scene, machine: Machine): void {
  count('ambushes');
  for (let i = 0; i < AMBUSH; i++) {
    scheduler.after(9 + i * AMBUSH_MS, () => network.replay(machine, AMBUSH_DATAGRAMS, () => true));
  }
}

function stopDaemon({ dice, count, scheduler, profile }: Scene, machine: Machine): void {
  if (!machine.daemon) return;
  count('daemon stops');
  machine.daemon.stop();
  machine.killDaemon();
  clock(dice, profile, machine, count);
  scheduler.after(dice.pick([10, 500, 5000]), () => machine.startDaemon());
}

function crashMachine(scene: Scene, machine: Machine): void {
  const { dice, count, scheduler, profile } = scene;
  if (!machine.on) return;
  count('machine crashes');
  scene.vrrp.lost(machine);
  machine.crash();
  clock(dice, profile, machine, count);
  scheduler.after(dice.pick([3000, 4000, 9000]), () => {
    if (!machine.on) machine.boot();
  });
}

function clock(
  dice: Dice,
  profile: Profile,
  machine: Machine,
  count: (what: string) => void,
): void {
  if (!profile.faults.has('clock back') || dice.chance(0.5)) return;
  count('clock set back');
  machine.setWall(-dice.pick([1000, 60_000, 86_400_000]));
}

function twoMasters({ vrrp, count }: Scene, machine: Machine): void {
  count('two masters');
  vrrp.second(machine);
}

function switchover({ vrrp, count }: Scene, machine: Machine): void {
  count('switchovers');
  vrrp.move(machine);
}

function burst(scene: Scene): void {
  const [master] = scene.vrrp.masters;
  if (!master) return;
  scene.count('bursts');
  scene.burst(master);
}

function operator(scene: Scene, machine: Machine): void {
  const { dice, count } = scene;
  const { daemon } = machine;
  if (!daemon || machine.frozen) return;
  const what = dice.pick(['bulk', 'request', 'resync', 'flush internal', 'flush external']);
  count(`operator: ${what}`);
  machine.guarded(() => {
    if (what === 'bulk') daemon.engine.bulk();
    else if (what === 'request') daemon.engine.request();
    else if (what === 'resync') daemon.resync('operator');
    else {
      daemon.engine.flush(what === 'flush internal' ? 'internal' : 'external');
      scene.emptied(machine);
      if (what === 'flush internal') daemon.resync('operator');
      else daemon.engine.request();
    }
  });
}
