#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# setup/run.sh demo|test|bench|simulate|nemesis|kernels|managers [ARGUMENT...]: installs what is missing, builds what has changed, and
# runs the thing. Everything said on the way goes to standard error.
set -euo pipefail
here=$(dirname "$0")
. "$here/common.sh"

what=${1:-}
shift || true
case $what in
demo) script=test/lab/demo.ts ;;
test) script=test/run.ts ;;
bench) script=bench/run.ts ;;
simulate) script=test/sync/simulator/main.ts ;;
nemesis) script=test/nemesis/main.ts ;;
kernels) script=test/machine/run.ts ;;
managers) script=test/lab/managers/main.ts ;;
*) missing "'$what' is not something to run: demo, test, bench, simulate, nemesis, kernels and managers are." ;;
esac

bash "$here/check-kernel.sh"
bash "$here/install.sh"
bash "$here/check-kernel.sh" # once more: bpftool, which asks the kernel, may be new
bash "$here/build.sh"

cd "$root_dir"
exec node --import tsx "$script" "$@"
