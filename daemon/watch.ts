// Watches the virtual addresses of this node: what VRRP or CARP has really done, whatever its
// scripts said or failed to say.
import { present } from './addresses.js';

/** A look costs one getifaddrs(). */
const LOOK_MS = 200;

export class AddressWatch {
  private have: readonly string[] = [];
  private timer: NodeJS.Timeout | undefined;

  /** `changed` is told of the addresses that are here now, first of all at the start. */
  constructor(
    private addresses: readonly string[],
    private readonly changed: (here: readonly string[], before: readonly string[]) => void,
  ) {}

  get here(): readonly string[] {
    return this.have;
  }

  start(): void {
    this.look();
    this.timer = setInterval(() => this.look(), LOOK_MS);
  }

  stop(): void {
    clearInterval(this.timer);
  }

  replace(addresses: readonly string[]): void {
    this.addresses = addresses;
    this.look();
  }

  look(): void {
    const here = present(this.addresses);
    const before = this.have;
    if (here.length === before.length && here.every((address) => before.includes(address))) return;
    this.have = here;
    this.changed(here, before);
  }
}
