#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Says in one sentence what this kernel lacks for spliced, and exits with 2; silent when all is there.
set -euo pipefail
. "$(dirname "$0")/common.sh"

kernel_min=6.1 # KERNEL_MIN of kernel/requirements.ts, which says why

require_root

[ "$(uname -s)" = Linux ] || missing "Linux $kernel_min or later is needed, and this is $(uname -s)."

release=$(uname -r)
lowest=$(printf '%s\n%s\n' "$kernel_min" "${release%%-*}" | sort -V | head -n 1)
[ "$lowest" = "$kernel_min" ] ||
  missing "Linux $kernel_min or later is needed for splicing, and this is $release."

[ -r /sys/kernel/btf/vmlinux ] ||
  missing "this kernel has no BTF (/sys/kernel/btf/vmlinux); one built with CONFIG_DEBUG_INFO_BTF=y is needed."

grep -qw bpf /proc/filesystems ||
  missing "this kernel has no bpf file system; one built with CONFIG_BPF_SYSCALL=y is needed."

awk '$3 == "cgroup2" { found = 1 } END { exit !found }' /proc/self/mounts ||
  missing "no cgroup2 file system is mounted; try 'mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified'."

# A container may be root and still be refused bpf().
if command -v bpftool >/dev/null; then
  bpftool prog list >/dev/null 2>&1 ||
    missing "the bpf() system call is refused here; CAP_BPF and CAP_NET_ADMIN are needed (a privileged container, or the host itself)."
fi
