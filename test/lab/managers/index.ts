import type { Lab } from '../lab.js';
import type { BalancerName } from '../topology.js';
import { Keepalived } from './keepalived.js';
import type { Manager, ManagerName } from './manager.js';
import { Ucarp } from './ucarp.js';
import { Watch } from './watch.js';

export { MANAGERS, type Manager, type ManagerName, type NodeState } from './manager.js';

export function managerFor(
  lab: Lab,
  name: ManagerName,
  prefers: BalancerName | undefined,
): Manager {
  if (name === 'ucarp') return new Ucarp(lab, prefers);
  if (name === 'watch') return new Watch(lab, prefers);
  return new Keepalived(lab, name, prefers);
}
