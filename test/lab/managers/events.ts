import type { Faults } from '../faults.js';
import type { Nodes } from '../nodes.js';
import { setCables } from '../topology.js';
import type { Manager } from './manager.js';

/** What an event has to work with. */
export interface Scene {
  readonly nodes: Nodes;
  readonly faults: Faults;
}

/** Something that befalls lb-a, which is in service. */
export interface Event {
  readonly strike: (scene: Scene) => void | Promise<void>;
  /** The other way round; lb-a is fit for service afterwards, wherever the addresses are. */
  readonly heal: (scene: Scene) => void | Promise<void>;
  /** The addresses come to lb-b. */
  readonly moves: (manager: Manager) => boolean;
  /** lb-a keeps them nevertheless: two nodes have them until it is healed. */
  readonly splits?: (manager: Manager) => boolean;
  /** The nodes do not hear each other by any net meanwhile. */
  readonly apart?: boolean;
  /** Flows stand still until it is healed, where nothing moves. */
  readonly cuts?: boolean;
  /** There is no such thing with this manager; undefined: there always is. */
  readonly not?: (manager: Manager) => boolean;
}

const nothing = () => {};
const hearsOn = (net: 'clients' | 'servers') => (manager: Manager) => manager.hears.includes(net);
const heal = ({ faults }: Scene) => faults.heal();

function cable(net: 'clients' | 'servers'): Event {
  const set = ({ nodes: { lab, a, manager } }: Scene, state: 'up' | 'down') => {
    setCables(lab, 'lb-a', state, net);
    manager.told(a, state === 'down' ? 'cut' : 'well');
  };
  return {
    strike: (scene) => set(scene, 'down'),
    heal: (scene) => set(scene, 'up'),
    moves: ({ watches }) => watches.includes(net),
    cuts: true,
  };
}

/** lb-a says nothing that arrives: where the nodes hear each other, lb-b takes over beside it. */
function mute(net: 'clients' | 'servers'): Event {
  const hears = hearsOn(net);
  const strike = ({ faults }: Scene) => faults.mute('lb-a', net);
  return { strike, heal, moves: hears, splits: hears, cuts: true };
}

/** lb-a hears nothing: lb-b hears lb-a, and has no reason to take over. */
function deaf(net: 'clients' | 'servers'): Event {
  const strike = ({ faults }: Scene) => faults.deafen('lb-a', net);
  return { strike, heal, moves: () => false, cuts: true };
}

const hearsAny = ({ hears }: Manager) => hears.length > 0;
const hearsNone = ({ hears }: Manager) => hears.length === 0;

export const EVENTS = {
  planned: {
    strike: ({ nodes: { manager, a } }) => manager.move(a),
    heal: nothing,
    moves: () => true,
    // The preferred node would take them back at once.
    not: ({ prefers }) => prefers !== undefined,
  },
  crash: {
    strike: ({ nodes }) => {
      nodes.crash('lb-a');
      nodes.manager.told(nodes.a, 'dead');
    },
    // The manager is there before the daemon: what its scripts say, nobody hears.
    heal: async ({ nodes }) => {
      nodes.boot('lb-a');
      nodes.manager.start(nodes.a);
      nodes.a.startDaemon();
      await nodes.a.ready();
      nodes.a.startProxy();
    },
    moves: () => true,
  },
  'manager dies': {
    strike: ({ nodes: { manager, a } }) => manager.crash(a),
    heal: ({ nodes: { manager, a } }) => manager.start(a),
    moves: hearsAny,
    splits: hearsAny,
    not: hearsNone,
  },
  'clients link': cable('clients'),
  'servers link': cable('servers'),
  'clients mute': mute('clients'),
  'servers mute': mute('servers'),
  'clients deaf': deaf('clients'),
  'servers deaf': deaf('servers'),
  'sync link': {
    strike: ({ faults }) => faults.part('sync'),
    heal,
    moves: () => false,
  },
  'split brain': {
    strike: ({ nodes: { manager }, faults }) => faults.part(...manager.hears),
    heal,
    moves: hearsAny,
    splits: hearsAny,
    not: hearsNone,
  },
  'split, no sync': {
    strike: ({ nodes: { manager }, faults }) => faults.part(...manager.hears, 'sync'),
    heal,
    moves: hearsAny,
    splits: hearsAny,
    apart: true,
    not: hearsNone,
  },
} as const satisfies Record<string, Event>;

export type EventName = keyof typeof EVENTS;
