import type { Faults } from '../faults.js';
import { LabError } from '../lab.js';
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

/**
 * Nothing that lb-a says arrives: where lb-b hears it by that net only, it takes over beside it. A sync
 * group does so only when every one of its instances has heard nothing.
 */
function mute(net: 'clients' | 'servers'): Event {
  const hears = ({ hears }: Manager) => hears.length === 1 && hears[0] === net;
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

/** Ten advertisements of keepalived: so long a node that it prefers does not take over. */
const TEMPTED_MS = 1000;

function fall({ nodes }: Scene): void {
  nodes.crash('lb-a');
  nodes.manager.told(nodes.a, 'dead');
}

/** The manager is there before the daemon: what its scripts say, nobody hears. */
async function rise({ nodes }: Scene): Promise<void> {
  nodes.boot(nodes.a);
  nodes.manager.start(nodes.a);
  nodes.a.startDaemon();
  await nodes.a.ready();
  nodes.a.startProxy();
}

export const EVENTS = {
  planned: {
    strike: ({ nodes: { manager, a } }) => manager.move(a),
    heal: nothing,
    moves: () => true,
    // The preferred node would take them back at once.
    not: ({ prefers }) => prefers !== undefined,
  },
  crash: { strike: fall, heal: rise, moves: () => true },
  'comes back too early': {
    strike: fall,
    // It hears lb-b and cannot ask it, so it knows that it is not in sync.
    heal: async (scene) => {
      const { nodes, faults } = scene;
      faults.mute('lb-a', 'sync');
      await rise(scene);
      await nodes.lab.until('lb-a to hear of lb-b', 10, async () => {
        const status = await nodes.a.status();
        return status?.in_sync === false && status.peers.length > 0;
      });
      await new Promise((resolve) => setTimeout(resolve, TEMPTED_MS));
      if (nodes.holds('lb-a')) throw new LabError('COMMAND', 'lb-a took over without the flows');
      faults.heal();
    },
    moves: () => true,
    not: ({ prefers, name }) => prefers === undefined || !name.startsWith('keepalived'),
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
