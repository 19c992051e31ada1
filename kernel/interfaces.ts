/** The programs on the served interfaces: clsact filters, which live on with no process. */
import { readFileSync, writeFileSync } from 'node:fs';
import { callFailed, errnoName, KernelError } from './error.js';
import { bpf, libc, sizeOf } from './native.js';

const BPF_TC_INGRESS = 1;
const BPF_TC_EGRESS = 2;
const BPF_TC_F_REPLACE = 1;
const EEXIST = 17;
const HANDLE = 1;
const PRIORITY = 1;

const DIRECTIONS = [
  ['ingress', BPF_TC_INGRESS],
  ['egress', BPF_TC_EGRESS],
] as const;

function hook(ifindex: number, attachPoint: number) {
  return { sz: sizeOf('bpf_tc_hook'), ifindex, attach_point: attachPoint, parent: 0 };
}

function options(programFd = 0, flags = 0) {
  return {
    sz: sizeOf('bpf_tc_opts'),
    prog_fd: programFd,
    flags,
    prog_id: 0,
    handle: HANDLE,
    priority: PRIORITY,
  };
}

/** ifindex of an interface of the present network namespace. @throws KernelError NO_INTERFACE */
export function interfaceIndex(name: string): number {
  const ifindex: number = libc.ifNameToIndex(name);
  if (!ifindex) {
    throw new KernelError('NO_INTERFACE', `interface ${name} does not exist; change Interface`);
  }
  return ifindex;
}

/**
 * Put the programs on an interface, in place of an older version, and let it forward: without that
 * the kernel finds no route for a translated packet.
 * @throws KernelError NO_INTERFACE
 */
export function attachInterface(name: string, programs: { ingress: number; egress: number }): void {
  const ifindex = interfaceIndex(name);
  const created: number = bpf().tcHookCreate(hook(ifindex, BPF_TC_INGRESS | BPF_TC_EGRESS));
  if (created < 0 && created !== -EEXIST) throw callFailed(`clsact on ${name}`, created);
  for (const [direction, attachPoint] of DIRECTIONS) {
    const error: number = bpf().tcAttach(
      hook(ifindex, attachPoint),
      options(programs[direction], BPF_TC_F_REPLACE),
    );
    if (error < 0) {
      throw new KernelError('SYSTEM_CALL', `${direction} filter on ${name}: ${errnoName(error)}`);
    }
  }
  writeFileSync(`/proc/sys/net/ipv4/conf/${name.replaceAll('.', '/')}/forwarding`, '1');
}

/** Take the programs off an interface; one that is gone has none. */
export function detachInterface(name: string): void {
  const ifindex: number = libc.ifNameToIndex(name);
  if (!ifindex) return;
  for (const [, attachPoint] of DIRECTIONS) bpf().tcDetach(hook(ifindex, attachPoint), options());
}

/** Interfaces of the present network namespace whose packets that program sees first. */
export function servedBy(programId: number): string[] {
  const names = readFileSync('/proc/self/net/dev', 'latin1').match(/^ *[^:\s]+(?=:)/gm) ?? [];
  return names
    .map((name) => name.trim())
    .filter((name) => {
      const found = options();
      const ifindex: number = libc.ifNameToIndex(name);
      return (
        bpf().tcQuery(hook(ifindex, BPF_TC_INGRESS), found) === 0 && found.prog_id === programId
      );
    });
}
