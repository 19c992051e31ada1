// Watches the virtual addresses of this node: what VRRP or CARP has really done, at the moment it
// does so, whatever its scripts say later or fail to say.
import { watchAddresses } from '../kernel/addresses.js';
import { present } from './addresses.js';

export class AddressWatch {
  private have: readonly string[] = [];
  private netlink: { close(): void } | undefined;

  /** `changed` is told of the addresses that are here now, first of all at the start. */
  constructor(
    private addresses: readonly string[],
    private readonly changed: (here: readonly string[], before: readonly string[]) => void,
  ) {}

  get here(): readonly string[] {
    return this.have;
  }

  start(): void {
    this.netlink = watchAddresses(() => this.look());
    this.look();
  }

  stop(): void {
    this.netlink?.close();
  }

  replace(addresses: readonly string[]): void {
    this.addresses = addresses;
    this.look();
  }

  private look(): void {
    const here = present(this.addresses);
    const before = this.have;
    if (here.length === before.length && here.every((address) => before.includes(address))) return;
    this.have = here;
    this.changed(here, before);
  }
}
