#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Builds the eBPF object and the TypeScript projects into dist/; does nothing where all is up to date.
set -euo pipefail
. "$(dirname "$0")/common.sh"
cd "$root_dir"

vmlinux=dist/kernel/vmlinux.h
object=dist/kernel/splice.bpf.o
mkdir -p dist/kernel

# Two builds at once (an editor's and a test run's) would read each other's half-written files.
exec 9>dist/.build-lock
flock 9

case $(uname -m) in
x86_64) arch=x86 ;;
aarch64) arch=arm64 ;;
*) missing "the eBPF programs are built for x86-64 and arm64 only, and this is $(uname -m)." ;;
esac

# vmlinux.h describes the running kernel, so another kernel means another vmlinux.h.
kernel_id=$(sha256sum </sys/kernel/btf/vmlinux)
if [ ! -s $vmlinux ] || [ "$(cat $vmlinux.kernel 2>/dev/null)" != "$kernel_id" ]; then
  say "writing $vmlinux from this kernel's BTF"
  bpftool btf dump file /sys/kernel/btf/vmlinux format c >$vmlinux.new
  mv $vmlinux.new $vmlinux
  echo "$kernel_id" >$vmlinux.kernel
fi

if [ ! -s $object ] || [ -n "$(find $vmlinux kernel/bpf kernel/record/record.h setup/build.sh -newer $object -print -quit)" ]; then
  say "compiling $object"
  clang -O2 -g -target bpfel -mcpu=v3 "-D__TARGET_ARCH_$arch" -Wall -Werror \
    -Idist/kernel -Ikernel/record -Ikernel/bpf -c kernel/bpf/splice.bpf.c -o $object.new >&2
  mv $object.new $object
fi

# TypeScript's view of the record follows the header; a header that says the same writes nothing.
types=dist/kernel/types.o
layout=kernel/record/layout.ts
if [ ! -s $types ] || [ -n "$(find kernel/record/record.h kernel/record/types.c kernel/generate-layout.ts -newer $types -print -quit)" ]; then
  clang -g -target bpfel -Wall -Werror -I"/usr/include/$(uname -m)-linux-gnu" -Ikernel/record \
    -c kernel/record/types.c -o $types.new >&2
  node --import tsx kernel/generate-layout.ts $types.new kernel/record/record.h >$types.ts
  cmp -s $types.ts $layout || { say "writing $layout" && cp $types.ts $layout; }
  mv $types.new $types
fi

npx --no-install tsc -b >&2

# splicectl runs in the middle of a takeover, and half of its start-up goes into finding oclif's hundred
# files: one bundle of it starts in two thirds of the time. What oclif loads by name stays a file.
bundle=dist/bin/splicectl.js
if [ ! -s $bundle ] || [ -n "$(find dist/cli dist/config dist/daemon/control dist/kernel/record package-lock.json -newer $bundle -print -quit)" ]; then
  rm -rf dist/bin # the names of its pieces change
  node_modules/.bin/esbuild splicectl=dist/cli/main.js commands=dist/cli/commands.js --bundle --splitting \
    --platform=node --format=esm --target=node20 --outdir=dist/bin --log-level=warning \
    --external:typescript --external:ts-node \
    "--banner:js=import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" >&2
fi
