/**
 * BTF: the kernel's own description of the types of an eBPF object (kernel documentation, bpf/btf.rst).
 * A pinned map carries that of the object which made it, so its contents can be read by name even
 * when this version's structures look different.
 */
import { callFailed } from './error.js';
import { bpf, errno, memory, type Pointer } from './native.js';

const MAGIC = 0xeb9f;

const Kind = {
  INT: 1,
  PTR: 2,
  ARRAY: 3,
  STRUCT: 4,
  UNION: 5,
  ENUM: 6,
  TYPEDEF: 8,
  VOLATILE: 9,
  CONST: 10,
  RESTRICT: 11,
  FUNC_PROTO: 13,
  VAR: 14,
  DATASEC: 15,
  DECL_TAG: 17,
  TYPE_TAG: 18,
  ENUM64: 19,
} as const;

interface BtfType {
  kind: number;
  name: string;
  /** In bytes; or the type that a modifier, pointer or typedef refers to. */
  sizeOrType: number;
  /** Of what follows the fixed part: members, enumerators, the dimensions of an array. */
  detail: number;
  count: number;
}

/** Where a number lies, in bytes. */
export interface Field {
  offset: number;
  size: number;
}

/** A type with all that it is made of: the numbers in it, by path ("record.seq_d[1]"). */
export interface Layout {
  size: number;
  fields: Map<string, Field>;
}

/** Octets that follow a type, by its kind: so many for each of what it counts, or so many in all. */
const EACH: Record<number, number> = {
  [Kind.STRUCT]: 12,
  [Kind.UNION]: 12,
  [Kind.ENUM]: 8,
  [Kind.FUNC_PROTO]: 8,
  [Kind.DATASEC]: 12,
  [Kind.ENUM64]: 12,
};
const FIXED: Record<number, number> = {
  [Kind.INT]: 4,
  [Kind.ARRAY]: 12,
  [Kind.VAR]: 4,
  [Kind.DECL_TAG]: 4,
};

const MODIFIERS: number[] = [Kind.TYPEDEF, Kind.VOLATILE, Kind.CONST, Kind.RESTRICT, Kind.TYPE_TAG];

export class Btf {
  readonly #view: DataView;
  readonly #types: BtfType[] = [{ kind: 0, name: 'void', sizeOrType: 0, detail: 0, count: 0 }];
  readonly #strings: number;

  /** @param raw as clang writes it and the kernel gives it back, little-endian */
  constructor(raw: Uint8Array) {
    this.#view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
    if (this.#view.getUint16(0, true) !== MAGIC) throw new RangeError('these bytes are no BTF');
    const header = this.#u32(4);
    this.#strings = header + this.#u32(16);
    const end = header + this.#u32(8) + this.#u32(12);
    for (let at = header + this.#u32(8); at < end; ) at = this.#read(at);
  }

  /** Of a struct btf that libbpf holds; copied. */
  static ofLibrary(btf: Pointer): Btf {
    const size = [0];
    const raw: Pointer = bpf().btfRaw(btf, size);
    return new Btf(new Uint8Array(memory(raw, size[0])).slice());
  }

  /** By the id that map info names. @throws KernelError SYSTEM_CALL */
  static ofKernel(id: number): Btf {
    const btf: Pointer = bpf().btfOfKernel(id);
    if (!btf) throw callFailed(`reading BTF ${id}`, errno());
    try {
      return Btf.ofLibrary(btf);
    } finally {
      bpf().btfFree(btf);
    }
  }

  #u32(at: number): number {
    return this.#view.getUint32(at, true);
  }

  #name(offset: number): string {
    const bytes: number[] = [];
    for (let at = this.#strings + offset; this.#view.getUint8(at); at++) {
      bytes.push(this.#view.getUint8(at));
    }
    return String.fromCharCode(...bytes);
  }

  #read(at: number): number {
    const info = this.#u32(at + 4);
    const kind = (info >>> 24) & 31;
    const count = info & 0xffff;
    const detail = at + 12;
    const name = this.#name(this.#u32(at));
    this.#types.push({ kind, name, sizeOrType: this.#u32(at + 8), detail, count });
    return detail + (FIXED[kind] ?? (EACH[kind] ?? 0) * count);
  }

  /** Without typedef, const and the like. */
  #resolve(id: number): BtfType {
    let type = this.#types[id];
    while (type && MODIFIERS.includes(type.kind)) type = this.#types[type.sizeOrType];
    if (!type) throw new RangeError(`BTF has no type ${id}`);
    return type;
  }

  #members(type: BtfType): { name: string; type: number; offset: number }[] {
    return Array.from({ length: type.count }, (_, i) => {
      const at = type.detail + 12 * i;
      // a bit field's size stands above the 24 bits of its offset; none of ours is read by name
      return {
        name: this.#name(this.#u32(at)),
        type: this.#u32(at + 4),
        offset: (this.#u32(at + 8) & 0xffffff) / 8,
      };
    });
  }

  #array(type: BtfType): { element: number; length: number } {
    return { element: this.#u32(type.detail), length: this.#u32(type.detail + 8) };
  }

  #size(id: number): number {
    const type = this.#resolve(id);
    if (type.kind === Kind.PTR) return 8;
    if (type.kind !== Kind.ARRAY) return type.sizeOrType;
    const { element, length } = this.#array(type);
    return length * this.#size(element);
  }

  /** Member of a struct, by name: its type and its offset in bytes. */
  member(id: number, name: string): { type: number; offset: number } | undefined {
    const type = this.#resolve(id);
    return type.kind === Kind.STRUCT
      ? this.#members(type).find((member) => member.name === name)
      : undefined;
  }

  /** Type of the elements, if the type is an array. */
  elementOf(id: number): number | undefined {
    const type = this.#resolve(id);
    return type.kind === Kind.ARRAY ? this.#array(type).element : undefined;
  }

  layout(id: number): Layout {
    const fields = new Map<string, Field>();
    const walk = (at: number, path: string, offset: number): void => {
      const type = this.#resolve(at);
      if (type.kind === Kind.ARRAY) {
        const { element, length } = this.#array(type);
        const size = this.#size(element);
        for (let i = 0; i < length; i++) walk(element, `${path}[${i}]`, offset + i * size);
      } else if (type.kind === Kind.STRUCT || type.kind === Kind.UNION) {
        for (const m of this.#members(type)) {
          walk(m.type, path ? `${path}.${m.name}` : m.name, offset + m.offset);
        }
      } else {
        fields.set(path, { offset, size: this.#size(at) });
      }
    };
    walk(id, '', 0);
    return { size: this.#size(id), fields };
  }

  /** All there is to say about a type as text: equal for types that lie in memory alike. */
  signature(id: number): string {
    const type = this.#resolve(id);
    if (type.kind === Kind.ARRAY) {
      const { element, length } = this.#array(type);
      return `${this.signature(element)}[${length}]`;
    }
    if (type.kind !== Kind.STRUCT && type.kind !== Kind.UNION) return `${this.#size(id)}`;
    const members = this.#members(type).map(
      (m) => `${m.name}@${m.offset}:${this.signature(m.type)}`,
    );
    return `{${members.join(' ')}}${type.sizeOrType}`;
  }

  /** Names and values of an enumeration. */
  enumeration(name: string): Map<string, number> | undefined {
    const type = this.#types.find((t) => t.kind === Kind.ENUM && t.name === name);
    if (!type) return undefined;
    return new Map(
      Array.from({ length: type.count }, (_, i) => {
        const at = type.detail + 8 * i;
        return [this.#name(this.#u32(at)), this.#u32(at + 4)];
      }),
    );
  }
}
