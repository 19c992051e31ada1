// The served interfaces: they may come late, go away and come back under another number. What goes
// with one is its programs alone; the splices stay in the table.
import { watchAddresses } from '../kernel/addresses.js';
import type { Datapath } from '../kernel/datapath.js';
import { KernelError } from '../kernel/error.js';
import { attachedIndex, detachInterface, interfaceIndex } from '../kernel/interfaces.js';
import type { Log } from './log.js';

/** What keeps an interface from being served. */
export interface Unserved {
  readonly name: string;
  readonly why: string;
}

const MISSING = 'it does not exist';

/**
 * One that does not exist is waited for: a daemon that is started before a VLAN or a bond is set up, or
 * anew while a cable is out, has its other work to do. One that cannot be served is a mistake.
 * @throws KernelError NOT_ETHERNET
 */
export function checkInterfaces(names: readonly string[]): void {
  for (const name of names) {
    try {
      interfaceIndex(name);
    } catch (error) {
      if (!(error instanceof KernelError) || error.code !== 'NO_INTERFACE') throw error;
    }
  }
}

export class InterfaceWatch {
  readonly counters = { interfaces_attached: 0, interfaces_lost: 0, interfaces_refused: 0 };
  /** Name to ifindex. */
  private readonly served = new Map<string, number>();
  /** Name to reason. */
  private readonly unserved = new Map<string, string>();
  private netlink: { close(): void } | undefined;

  constructor(
    private names: readonly string[],
    private readonly datapath: Datapath,
    private readonly log: Log,
  ) {}

  get status(): { served: string[]; unserved: Unserved[] } {
    return {
      served: this.names.filter((name) => this.served.has(name)),
      unserved: [...this.unserved].map(([name, why]) => ({ name, why })),
    };
  }

  start(): void {
    this.netlink = watchAddresses(() => this.look());
    this.look();
  }

  /** The programs stay where they are. */
  stop(): void {
    this.netlink?.close();
  }

  replace(names: readonly string[]): void {
    for (const name of this.names) {
      if (names.includes(name)) continue;
      detachInterface(name);
      this.served.delete(name);
      this.unserved.delete(name);
      this.log.info({ code: 'INTERFACE_DETACHED', interface: name }, 'interface no longer served');
    }
    this.names = names;
    this.look();
  }

  /** All of them at once: for an exchange of the programs, which goes by what was served last. */
  again(): void {
    this.look();
    try {
      this.datapath.serve([...this.served.keys()]);
    } catch (error) {
      // one that has gone since; rtnetlink is about to say so
      this.log.warn({ why: (error as Error).message }, 'an interface went while it was attached');
    }
  }

  private look(): void {
    for (const name of this.names) {
      const before = this.served.get(name);
      if (before !== undefined && attachedIndex(name) === before) continue;
      if (before !== undefined) this.lost(name);
      this.attach(name);
    }
  }

  private lost(name: string): void {
    this.served.delete(name);
    this.counters.interfaces_lost++;
    this.log.warn({ code: 'INTERFACE_LOST', interface: name }, 'a served interface went away');
  }

  private attach(name: string): void {
    try {
      const ifindex = interfaceIndex(name);
      this.datapath.serve([name]);
      this.served.set(name, ifindex);
      this.unserved.delete(name);
      this.counters.interfaces_attached++;
      this.log.info({ code: 'INTERFACE_ATTACHED', interface: name, ifindex }, 'interface served');
    } catch (error) {
      this.refuse(name, error as Error);
    }
  }

  /** Said once for each reason: every change of any interface tries again. */
  private refuse(name: string, error: Error): void {
    const missing = error instanceof KernelError && error.code === 'NO_INTERFACE';
    const why = missing ? MISSING : error.message;
    if (this.unserved.get(name) === why) return;
    this.unserved.set(name, why);
    const code = missing ? 'INTERFACE_MISSING' : 'INTERFACE_REFUSED';
    if (!missing) this.counters.interfaces_refused++;
    this.log.warn({ code, interface: name, why }, 'interface not served: it is tried again');
  }
}
