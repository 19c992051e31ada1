/** Is all as it should be when nothing happens any more? */
import type { Judge } from './judge.js';
import { finished, isHeld, unfinished } from './kernel.js';
import type { Machine } from './machine.js';
import type { Profile } from './profile.js';
import { name, type View } from './view.js';
import type { Vrrp } from './vrrp.js';

/** What is not yet as it should be. */
export function atRest(
  machines: readonly Machine[],
  judge: Judge,
  vrrp: Vrrp,
  { tight }: Profile,
): string[] {
  const wrong: string[] = [];
  judge.lookAround();
  if (vrrp.masters.length !== 1) wrong.push(`${vrrp.masters.length} masters`);
  const reached = machines.filter((machine) => machine.reached).length;
  if (reached !== 1) wrong.push(`${reached} nodes answer for the address`);
  const views: View[] = [];
  for (const machine of machines) {
    const { daemon } = machine;
    const view = daemon && judge.views.get(daemon);
    if (!daemon || !view) return [`${machine.name} has no daemon`];
    views.push(view);
    if (daemon.busy > 0) wrong.push(`${machine.name} is busy`);
    if (machine.kernel.ring.waiting > 0) wrong.push(`${machine.name} has not read all events`);
  }
  // where a cache is full, nothing can be complete
  if (tight && machines.some(({ kernel }) => kernel.entries.size > 3)) return wrong;
  for (const { daemon } of views) {
    if (!daemon.engine.inSync) wrong.push(`${daemon.machine.name} is not in sync`);
  }
  if (wrong.length > 0) return wrong;
  for (const view of views) {
    wrong.push(...state(view, machines.length), ...table(view));
    for (const other of views) if (other !== view) wrong.push(...copies(view, other));
  }
  return wrong;
}

function state({ daemon }: View, nodes: number): string[] {
  const { engine, machine } = daemon;
  const wrong: string[] = [];
  const peers = engine.peers().filter((peer) => peer.alive);
  if (peers.length !== nodes - 1) wrong.push(`${machine.name} finds ${peers.length} peers alive`);
  if (engine.unacknowledged() > 0) wrong.push(`${machine.name} has something unacknowledged`);
  const { resend_used } = engine.stats().queue;
  if (resend_used > 0) wrong.push(`${machine.name} keeps ${resend_used} identities to resend`);
  return wrong;
}

/** The internal cache is what the kernel has. */
function table({ daemon, held }: View): string[] {
  const { kernel, id, name: machine } = daemon.machine;
  const wrong: string[] = [];
  for (const entry of kernel.entries.values()) {
    if (unfinished(entry) || isHeld(entry) || entry.record.owner !== id) continue;
    if (finished(entry) && entry.record.state(0) === 0) continue;
    if (held.get(entry.key)?.cache !== id) {
      wrong.push(`${machine}: the kernel has ${name(entry.key)}, the internal cache does not`);
    }
  }
  for (const [key, { cache, owner }] of held) {
    if (cache !== owner) wrong.push(`${machine}: ${name(key)} is in the wrong cache`);
    // elsewhere than on the owner entries age, and nothing is said of it
    const entry = kernel.entries.get(key);
    if (cache === id && daemon.owning && (!entry || isHeld(entry))) {
      wrong.push(`${machine}: the internal cache has ${name(key)}, the kernel does not`);
    }
    // hot standby: what a peer owns stands here for it alone
    if (cache === id || !daemon.hot || !entry || finished(entry)) continue;
    if (!isHeld(entry)) wrong.push(`${machine}: ${name(key)} is no standby entry`);
    else if (entry.record.owner !== cache)
      wrong.push(`${machine}: ${name(key)} is held for another`);
  }
  // ... and what nobody owns is not
  for (const entry of kernel.entries.values()) {
    if (!daemon.hot || !isHeld(entry) || finished(entry) || held.has(entry.key)) continue;
    if (entry.timeoutMs < Number.POSITIVE_INFINITY) continue; // it goes by itself
    wrong.push(`${machine}: ${name(entry.key)} is held for nobody`);
  }
  return wrong;
}

/** What one owns is what the other has of it, to the last bit. */
function copies(owner: View, other: View): string[] {
  const wrong: string[] = [];
  const { id, name: from } = owner.daemon.machine;
  const { name: to } = other.daemon.machine;
  for (const [key, held] of owner.held) {
    if (held.cache !== id) continue;
    const copy = other.held.get(key);
    // what found no room after a commit, is not said to be taken over, nor to have ended
    if (!copy && other.daemon.notices.includes('cache-full')) continue;
    if (!copy) wrong.push(`${to} lacks ${name(key)} of ${from}`);
    else if (copy.cache !== id) wrong.push(`${name(key)} has two owners`);
    else if (copy.hash !== held.hash) wrong.push(`${to} has another ${name(key)} than ${from}`);
  }
  for (const [key, held] of other.held) {
    if (held.cache === id && owner.held.get(key)?.cache !== id) {
      wrong.push(`${to} has ${name(key)}, which ${from} does not own`);
    }
  }
  return wrong;
}
