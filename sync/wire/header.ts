/** The header of a datagram: its fields as a table, and what makes it sound. */
import { type Field, readU64, u8, u16, u32, u64, writeU64 } from './fields.js';
import type { Rejection } from './rejections.js';

export const MAGIC = 0x434c5053; // "SPLC"
/** The highest that is spoken here. */
export const WIRE_VERSION = 2;
/** HELLO is of this version for ever, so that every node can read it of every other one. */
export const HELLO_VERSION = 1;

export const Type = {
  /** Keep-alive: who the sender is, and the highest sequence that it has sent. */
  HELLO: 1,
  /** Records and endings. The only type that takes a sequence of its own. */
  DATA: 2,
  /** To one node: what has come of its stream, and what is missing. */
  REPORT: 3,
  /** To one node or to all: send all that you own. */
  REQUEST: 4,
  /** Sealed links only, never beyond the seal: prove that this session of yours lives. */
  CHALLENGE: 5,
  /** Likewise: the proof; or, to all, the offer of a session that may be challenged. */
  PROOF: 6,
  /** To one node: how the digests that it has said compare with what is held of its records. */
  VERDICT: 7,
  /** To all or to one: the sender takes over, and the others stop answering for the virtual addresses. */
  YIELD: 8,
  /** To one node: the answer. */
  YIELDED: 9,
  /** To one node, by the one that has the addresses: take over the splices, and then the addresses. */
  OFFER: 10,
  /** To one node: how far the takeover is that it has asked for. */
  TAKEN: 11,
} as const;

export const HeaderFlag = {
  /** HELLO, DATA: report at once. */
  REPORT_WANTED: 0x01,
  /** REPORT: the sender holds all that the receiver owns. */
  HOLDS_ALL: 0x02,
  /** DATA: what it repairs began in the datagrams before it. */
  CONTINUED: 0x04,
  /** HELLO: the sender stops; nobody need wait for it. */
  LEAVING: 0x08,
} as const;

/** The lowest version of a datagram of each type. */
const SINCE: Readonly<Record<number, number>> = {
  [Type.HELLO]: 1,
  [Type.DATA]: 1,
  [Type.REPORT]: 1,
  [Type.REQUEST]: 1,
  [Type.VERDICT]: 2,
  [Type.YIELD]: 2,
  [Type.YIELDED]: 2,
  [Type.OFFER]: 2,
  [Type.TAKEN]: 2,
};

export const HEADER_SIZE = 72;
/** The last eight octets of the header. */
export const NONCE_AT = HEADER_SIZE - 8;

/** Every field of the header, in order. */
export const HEADER = {
  magic: u32(0),
  version: u8(4),
  type: u8(5),
  flags: u8(6),
  /** Key that seals the datagram; 0: none. */
  key: u8(7),
  sender: u32(8),
  /** 0: all. */
  receiver: u32(12),
  /** Of the sender's start. */
  incarnation: u64(16),
  /** REPORT, REQUEST: of the start of the receiver that is meant. */
  receiverIncarnation: u64(24),
  /** DATA: its own; else the highest that has been sent. */
  sequence: u64(32),
  /** The lowest that the sender can still repair. */
  oldest: u64(40),
  /** REPORT: all up to here is complete. REQUEST: a bulk that begins here or later will do. */
  ack: u64(48),
  /** Highest epoch that the sender has seen. */
  epoch: u32(56),
  /** Octets after the header. */
  length: u16(60),
  /** Zero, not looked at. */
  reserved: u16(62),
  /** Of a sealed datagram; else its checksum. */
  nonce: u64(NONCE_AT),
} satisfies Record<string, Field>;

export type HeaderName = keyof typeof HEADER;
export type Header = Record<HeaderName, number>;

/** Field by field: a loop over the table would cost a short datagram more than all the rest. */
export function readHeader(view: DataView): Header {
  return {
    magic: view.getUint32(HEADER.magic.at, true),
    version: view.getUint8(HEADER.version.at),
    type: view.getUint8(HEADER.type.at),
    flags: view.getUint8(HEADER.flags.at),
    key: view.getUint8(HEADER.key.at),
    sender: view.getUint32(HEADER.sender.at, true),
    receiver: view.getUint32(HEADER.receiver.at, true),
    incarnation: readU64(view, HEADER.incarnation.at),
    receiverIncarnation: readU64(view, HEADER.receiverIncarnation.at),
    sequence: readU64(view, HEADER.sequence.at),
    oldest: readU64(view, HEADER.oldest.at),
    ack: readU64(view, HEADER.ack.at),
    epoch: view.getUint32(HEADER.epoch.at, true),
    length: view.getUint16(HEADER.length.at, true),
    reserved: view.getUint16(HEADER.reserved.at, true),
    nonce: readU64(view, HEADER.nonce.at),
  };
}

export function writeHeader(view: DataView, header: Header): void {
  view.setUint32(HEADER.magic.at, header.magic, true);
  view.setUint8(HEADER.version.at, header.version);
  view.setUint8(HEADER.type.at, header.type);
  view.setUint8(HEADER.flags.at, header.flags);
  view.setUint8(HEADER.key.at, header.key);
  view.setUint32(HEADER.sender.at, header.sender, true);
  view.setUint32(HEADER.receiver.at, header.receiver, true);
  writeU64(view, HEADER.incarnation.at, header.incarnation);
  writeU64(view, HEADER.receiverIncarnation.at, header.receiverIncarnation);
  writeU64(view, HEADER.sequence.at, header.sequence);
  writeU64(view, HEADER.oldest.at, header.oldest);
  writeU64(view, HEADER.ack.at, header.ack);
  view.setUint32(HEADER.epoch.at, header.epoch, true);
  view.setUint16(HEADER.length.at, header.length, true);
  view.setUint16(HEADER.reserved.at, header.reserved, true);
  writeU64(view, HEADER.nonce.at, header.nonce);
}

/** Of a datagram of `size` octets, for a reader of versions up to `versionMax`. */
export function checkHeader(
  header: Header,
  size: number,
  versionMax: number,
): Rejection | undefined {
  const { version, type } = header;
  if (header.magic !== MAGIC) return 'magic';
  if (version === 0 || version > versionMax) return 'version';
  if (SINCE[type] === undefined || SINCE[type] > version) return 'type';
  if (type === Type.HELLO && version !== HELLO_VERSION) return 'version';
  if (header.key !== 0) return 'key';
  if (header.length !== size - HEADER_SIZE) return 'length';
  return undefined;
}

/** What the fields say, once they are known to be as they were sent. */
export function checkFields(header: Header): Rejection | undefined {
  if (header.sender === 0) return 'sender';
  const { incarnation, receiverIncarnation, sequence, oldest, ack } = header;
  const numbers = incarnation + receiverIncarnation + sequence + oldest + ack;
  if (Number.isNaN(numbers) || oldest > sequence + 1 || oldest === 0) return 'range';
  if (header.type === Type.DATA && sequence === 0) return 'range';
  return undefined;
}
