# SPDX-License-Identifier: MIT
# What the setup scripts share. Sourced, never run. Messages go to standard error, so that
# whatever is started afterwards has standard output to itself.

root_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

say() { echo "setup: $*" >&2; }

# The machine lacks something that the user has to provide: one sentence, exit status 2.
missing() {
  echo "spliced: $*" >&2
  exit 2
}

require_root() {
  [ "$(id -u)" -eq 0 ] ||
    missing "this needs root, for network namespaces and eBPF; run it again with sudo or as root."
}

require_node() {
  local version
  version=$(node -p 'const [a, b] = process.versions.node.split("."); a * 1000 + +b' 2>/dev/null) ||
    missing "Node.js 20.15 or later is needed, and there is no 'node' in PATH."
  [ "$version" -ge 20015 ] ||
    missing "Node.js 20.15 or later is needed, and this is $(node --version)."
}
