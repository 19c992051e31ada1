#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Installs what the build, the lab and the tests need and this machine lacks: Debian packages first,
# then the npm packages of package-lock.json. The second time it finds everything and does nothing.
#
# setup/install.sh [PROGRAM[=PACKAGE]...]: these programs too, such as the peers that a bench compares
# with; PACKAGE brings it, where that is not its own name.
#
# No service that a package brings is started or left enabled: the lab starts its own keepalived and
# nginx in namespaces of its own, and a machine must not become a router because it ran a demo.
set -euo pipefail
. "$(dirname "$0")/common.sh"

# What is looked for (a program in PATH, or a file) and the package that brings it.
needs=(
  "clang clang"                                   # compiles the eBPF programs
  "/usr/include/bpf/bpf_helpers.h libbpf-dev"     # their helpers; brings libbpf.so.1 too
  "bpftool bpftool"                               # vmlinux.h
  "ip iproute2"                                   # namespaces
  "nft nftables"                                  # loss and cuts in the tests
  "keepalived keepalived"
  "ucarp ucarp"
  "nginx nginx-light"                             # real servers
  "curl curl"                                     # real clients
  "xmllint libxml2-utils"                         # dumps against their schema
  "tcpdump tcpdump"
  "ethtool ethtool"                               # links with and without bundling
)
for extra in "$@"; do
  needs+=("${extra%%=*} ${extra#*=}")
done

policy=/usr/sbin/policy-rc.d
policy_is_ours=
packages_before=

installed_packages() { dpkg-query -W -f '${db:Status-Status} ${Package}\n' | sed -n 's/^installed //p' | sort; }

# Runs a command, and shows what it has said only if it fails.
quietly() {
  local log status=0
  log=$(mktemp)
  "$@" >"$log" 2>&1 </dev/null || status=$?
  [ $status -eq 0 ] || cat "$log" >&2
  rm -f "$log"
  return $status
}

# Services of the packages that were not there before. With policy-rc.d in place none was started.
disable_new_services() {
  local unit
  command -v systemctl >/dev/null || return 0
  comm -13 "$packages_before" <(installed_packages) | xargs -r dpkg-query -L |
    sed -nE 's#^(/usr)?/lib/systemd/system/([^/@]+\.service)$#\2#p' | sort -u |
    while read -r unit; do
      [ "$(systemctl is-enabled "$unit" 2>/dev/null)" = enabled ] || continue
      systemctl disable "$unit" >/dev/null 2>&1 && say "left $unit disabled"
    done
  return 0
}

finish() {
  [ -z "$packages_before" ] || { disable_new_services; rm -f "$packages_before"; }
  [ -z "$policy_is_ours" ] || rm -f "$policy"
}

install_packages() {
  command -v apt-get >/dev/null ||
    missing "these are missing and there is no apt-get to install them with: $*."
  trap finish EXIT
  trap 'exit 130' INT TERM
  packages_before=$(mktemp)
  installed_packages >"$packages_before"
  if [ ! -e "$policy" ]; then
    policy_is_ours=yes
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
  fi
  say "installing the Debian packages $* (a minute or so)"
  local apt=(apt-get -q -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0)
  export DEBIAN_FRONTEND=noninteractive
  quietly "${apt[@]}" update && quietly "${apt[@]}" install -y --no-install-recommends "$@" ||
    missing "apt-get could not install $*; its own message stands above."
}

require_root
require_node

lacking=()
for need in "${needs[@]}"; do
  read -r what package <<<"$need"
  case $what in
  /*) [ -e "$what" ] || lacking+=("$package") ;;
  *) command -v "$what" >/dev/null || lacking+=("$package") ;;
  esac
done
[ ${#lacking[@]} -eq 0 ] || install_packages "${lacking[@]}"

# The copy of the lock file says which one node_modules was made from. Install scripts are not run:
# koffi, netlink and esbuild bring their binaries along.
cd "$root_dir"
if ! cmp -s package-lock.json node_modules/.made-from-lock; then
  say "installing the npm packages of package-lock.json"
  quietly npm ci --ignore-scripts --no-audit --no-fund --loglevel=error ||
    missing "npm ci failed; its own message stands above."
  cp package-lock.json node_modules/.made-from-lock
fi
