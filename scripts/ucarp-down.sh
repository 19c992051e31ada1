#!/bin/sh
# ucarp's down script: this node is not the active one any more, or has just begun and is not. The
# addresses go at once; the daemon sees that and stands by.
#
#   ucarp-down.sh INTERFACE ADDRESS [FILE]    as ucarp calls it; FILE as in ucarp-up.sh
#
# Exit status: 0, or that of the last step that failed. An address that is not there is no failure.

addresses="${3:-/etc/spliced/addresses}"
status=0

while read -r address; do
  case "$address" in '' | '#'*) continue ;; esac
  # "to": what ucarp took with it when it was killed may be gone
  # shellcheck disable=SC2086
  set -- $address
  ip address flush to "$1" ${3:+dev "$3"} || status=$?
done <"$addresses"
exit "$status"
