import { command, type Lab } from './lab.js';
import { BALANCERS, cableEnd, FABRIC, type Net } from './topology.js';

/**
 * What the switches do not carry, though every cable has its carrier: rules of a bridge in the fabric.
 * Each call adds to what is broken already; `heal` mends all of it.
 */
export class Faults {
  #rules: string[] = [];

  constructor(private readonly lab: Lab) {}

  /** Nothing that the node sends into the net arrives anywhere. */
  mute(node: string, net: Net): void {
    this.#add(`iifname "${cableEnd(node, net)}" drop`);
  }

  /** Nothing that others send in the net arrives at the node. */
  deafen(node: string, net: Net): void {
    this.#add(`oifname "${cableEnd(node, net)}" drop`);
  }

  /** The balancers do not hear each other on these nets; all others hear both. */
  part(...nets: Net[]): void {
    for (const net of nets) {
      const [a, b] = BALANCERS.map((node) => cableEnd(node, net));
      this.#add(`iifname "${a}" oifname "${b}" drop`, `iifname "${b}" oifname "${a}" drop`);
    }
  }

  heal(): void {
    this.#rules = [];
    this.#apply();
  }

  #add(...rules: string[]): void {
    this.#rules.push(...rules);
    this.#apply();
  }

  /** In one transaction, so that what was broken stays so while more is. */
  #apply(): void {
    const chain = ['type filter hook forward priority 0', ...this.#rules].join('\n');
    nft(
      this.lab,
      FABRIC,
      `table bridge faults\ndelete table bridge faults\ntable bridge faults {\nchain forward {\n${chain}\n}\n}\n`,
    );
  }
}

/** Feeds a text to nft in one namespace. */
export function nft(lab: Lab, node: string, text: string): void {
  const enter = `--net=/run/netns/${lab.namespace(node)}`;
  command('nsenter', [enter, 'nft', '-f', '-'], text);
}
