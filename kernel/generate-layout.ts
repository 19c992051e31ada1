/**
 * Writes layout.ts, the TypeScript view of record.h: sizes and offsets of its structs in bytes, and
 * its enumerations. They are read from the BTF of types.c as clang compiled it, so they are what the
 * eBPF programs see.
 *
 * usage: node --import tsx kernel/generate-layout.ts OBJECT HEADER > kernel/record/layout.ts
 */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

interface BtfType {
  id: number;
  kind: string;
  name: string;
  size?: number;
  members?: { name: string; bits_offset: number }[];
  values?: { name: string; val: number }[];
}

/** Enumerations of the header: their names here, the prefix of their members, and the members' case. */
const ENUMS: Record<string, { name: string; prefix: string; lower?: boolean }> = {
  splice_state: { name: 'State', prefix: 'SPLICE_' },
  splice_flag: { name: 'Flag', prefix: 'SPLICE_F_' },
  splice_option: { name: 'Option', prefix: 'SPLICE_O_' },
  splice_event_type: { name: 'EventType', prefix: 'SPLICE_EVENT_' },
  splice_op: { name: 'Operation', prefix: 'SPLICE_OP_' },
  splice_op_flag: { name: 'OperationFlag', prefix: 'SPLICE_OP_' },
  splice_look: { name: 'Look', prefix: 'SPLICE_LOOK_' },
  splice_op_result: { name: 'Result', prefix: 'SPLICE_' },
  splice_timeout: { name: 'Timeout', prefix: 'SPLICE_TIMEOUT_', lower: true },
  splice_counter: { name: 'Counter', prefix: 'SPLICE_CNT_', lower: true },
  splice_trait: { name: 'Trait', prefix: 'SPLICE_T_' },
  splice_sockopt: { name: 'SocketOption', prefix: 'SPLICE_SO_' },
};

const camel = (name: string) => name.replace(/_([a-z0-9])/g, (_, c: string) => c.toUpperCase());
const pascal = (name: string) => name[0].toUpperCase() + camel(name).slice(1);

function struct(type: BtfType): string {
  const name = type.name.replace('splice_', '');
  const members = (type.members ?? []).map((m) => `  ${camel(m.name)}: ${m.bits_offset / 8},`);
  return [
    `/** struct ${type.name}: size and offsets in bytes. */`,
    `export const ${name.toUpperCase()}_SIZE = ${type.size};`,
    `export const ${pascal(name)}Offset = {`,
    ...members,
    '} as const;',
  ].join('\n');
}

function enumeration(type: BtfType): string {
  const as = ENUMS[type.name];
  const members = (type.values ?? [])
    .map((v) => ({ name: v.name.replace(as.prefix, ''), value: v.val }))
    .filter((v) => v.name !== 'COUNT' || type.name === 'splice_sockopt')
    .map((v) => `  ${as.lower ? v.name.toLowerCase() : v.name}: ${v.value},`);
  return [
    `/** enum ${type.name}. */`,
    `export const ${as.name} = {`,
    ...members,
    '} as const;',
    `export type ${as.name}Name = keyof typeof ${as.name};`,
  ].join('\n');
}

/** Whole-number `#define`s of the header, which BTF does not carry. */
function defines(header: string): string {
  return [...header.matchAll(/^#define (?:SPLICE_)?(\w+) (0x[0-9a-f]+|\d+)\b/gm)]
    .map(([, name, value]) => `export const ${name} = ${value};`)
    .join('\n');
}

/** The text of layout.ts. */
export function generateLayout(object: string, header: string): string {
  const btf = JSON.parse(
    execFileSync('bpftool', ['-j', 'btf', 'dump', 'file', object], { encoding: 'utf8' }),
  ) as { types: BtfType[] };
  const ours = btf.types
    .filter((t) => t.name?.startsWith('splice_'))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  return `${[
    '// Generated from record.h by kernel/generate-layout.ts. Change the header, then build.',
    defines(readFileSync(header, 'utf8')),
    ...ours.filter((t) => t.kind === 'STRUCT').map(struct),
    ...ours.filter((t) => t.kind === 'ENUM' && t.name in ENUMS).map(enumeration),
  ].join('\n\n')}\n`;
}

if (process.argv[1] === import.meta.filename) {
  const [object, header] = process.argv.slice(2);
  process.stdout.write(generateLayout(object, header));
}
