/** What a HELLO says: docs/wire.md has its segments. */
import type { SyncOptions } from './api.js';
import type { Mark, Paths } from './paths.js';
import type { Peer } from './peer.js';
import { HELLO_VERSION, Segment, type Writer, writeU64 } from './wire.js';

/** The mode of a node that does not say it. */
export const MODE_UNSAID = 'FTFW';

export interface Hello {
  readonly options: Required<SyncOptions>;
  readonly peers: ReadonlyMap<number, Peer>;
  readonly paths: Paths;
  /** The path that it goes by. */
  readonly mark: Mark;
  /** What this node stands for. */
  readonly role: (writer: Writer) => void;
}

export function writeHello(writer: Writer, hello: Hello): void {
  const { options, peers } = hello;
  for (const character of options.name) {
    writer.bytes[writer.item(Segment.NAME)] = character.charCodeAt(0);
  }
  if (options.versionMax > HELLO_VERSION) {
    writeVersions(writer, options);
    hello.role(writer);
    writePaths(writer, hello);
  }
  for (const peer of peers.values()) {
    if (!writer.fits(Segment.KNOWN)) return;
    const at = writer.item(Segment.KNOWN);
    writer.view.setUint32(at, peer.node, true);
    writer.view.setUint32(at + 4, 0, true);
    writeU64(writer.view, at + 8, peer.incarnation);
  }
}

/** What this node speaks, and in which mode it is. */
function writeVersions(writer: Writer, { versionMax, mode }: Required<SyncOptions>): void {
  const at = writer.item(Segment.VERSIONS);
  writer.bytes[at] = HELLO_VERSION;
  writer.bytes[at + 1] = versionMax;
  // who does not say it is in FTFW, the one mode of the first version
  for (const character of mode === MODE_UNSAID ? '' : mode) {
    writer.bytes[writer.item(Segment.MODE)] = character.charCodeAt(0);
  }
}

/** The path that it goes by, and by which of theirs the others are heard. */
function writePaths(writer: Writer, { peers, paths, mark }: Hello): void {
  const at = writer.item(Segment.PATH);
  writer.bytes[at] = mark.path;
  writer.bytes[at + 1] = mark.paths;
  writer.view.setUint16(at + 2, 0, true);
  writer.view.setUint32(at + 4, mark.serial, true);
  for (const peer of peers.values()) {
    const mask = paths.heardFrom(peer);
    if (mask === undefined || !writer.fits(Segment.HEARD)) continue;
    const item = writer.item(Segment.HEARD);
    writer.view.setUint32(item, peer.node, true);
    writer.view.setUint32(item + 4, mask, true);
  }
}
