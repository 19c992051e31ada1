#!/bin/sh
# HandoverCommand where ucarp has the addresses: ucarp knows no track file, and a backup of its own accord
# waits for three advertisements that do not come.
#
#   HandoverCommand /etc/spliced/ucarp-handover.sh /run/ucarp.pid /etc/spliced/addresses
#
#   ucarp-handover.sh PIDFILE FILE give|take PEER    the last two come from the daemon
#
# PIDFILE has the process id of ucarp; FILE has the addresses, as ucarp-up.sh has it.
#
# Exit status: 0, or that of what has failed.

say() {
  echo "ucarp-handover.sh: $*" >&2
}

pidfile="$1"
addresses="$2"

case "$3" in
  give)
    if ! pid=$(cat "$pidfile"); then
      exit 1
    fi
    # ucarp steps down, and runs its down script at once
    kill -USR2 "$pid"
    ;;
  take)
    # The flows are here already: nothing is to be committed. When this node's ucarp notices, it finds
    # the addresses.
    SPLICECTL=true exec "$(dirname "$0")/ucarp-up.sh" '' '' "$addresses"
    ;;
  *)
    say "expected PIDFILE FILE give|take PEER: $*"
    exit 2
    ;;
esac
