#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Goes on in the machine where init.sh ends: runs what the host has asked for, and switches off. Lines that
# begin with "machine:" are for the host (console.ts).
. /run/job
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME=/root LC_ALL=C.UTF-8 NO_COLOR=1 SPLICED_PATIENCE
cd "$ROOT" || exit
ip link set lo up
echo "machine: up, $(uname -r)"
# nothing is built in here, and the sources may have changed since: the object is as it was built
bash -c "$COMMAND" 2>&1
echo "machine: done, status $?"
echo o >/proc/sysrq-trigger
sleep 60
