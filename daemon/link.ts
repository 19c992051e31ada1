// The link as the settings have it: its paths, and sealed where they name a key file.
import type { Link } from '../sync/ports.js';
import { openSeal, type Seal } from '../sync/seal/seal.js';
import { openLinks } from '../sync/transport/links.js';
import type { Settings } from './config.js';
import { loadKeys } from './key-file.js';
import type { Log } from './log.js';
import { clock, random } from './world.js';

export interface LinkUser {
  readonly node: number;
  readonly log: Log;
  /** What comes from the link and is to be believed, as far as that is known here. */
  readonly deliver: (datagram: Uint8Array, path: number) => void;
  /** Another node hears this one only from now on. */
  readonly proved: () => void;
}

export interface OpenLink {
  readonly link: Link;
  /** Undefined: nothing is sealed. */
  readonly seal: Seal | undefined;
  close(): void;
}

/** @throws SyncError; ConfigError of the key file */
export async function openLink({ links, keyFile }: Settings, user: LinkUser): Promise<OpenLink> {
  const { node, log, deliver, proved } = user;
  const warn = (message: string): void => log.warn({ code: 'LINK_MISSING' }, message);
  if (keyFile === undefined) {
    const link = await openLinks(links, deliver, { warn });
    return { link, seal: undefined, close: () => link.close() };
  }
  const keys = loadKeys(keyFile);
  const carrier = await openLinks(links, (bytes, path) => seal.receive(bytes, path), { warn });
  const seal: Seal = openSeal({ link: carrier, keys, node, clock, random, deliver, proved });
  tellKeys(log, keys);
  return {
    link: seal,
    seal,
    close() {
      seal.stop();
      carrier.close();
    },
  };
}

/** By their ids; the keys themselves are nowhere but in the file and in the seal. */
export function tellKeys(log: Log, keys: readonly { readonly id: number }[]): void {
  const ids = keys.map(({ id }) => id);
  log.info({ code: 'KEYS', seals: ids[0], accepts: ids }, 'keys of the link');
}
