#!/bin/sh
# What a node does when VRRP moves the virtual addresses: keepalived's notify script, with the order
# of conntrackd's script of the same name. By the notify fifo, vrrp-fifo.sh calls it; ucarp has scripts of
# its own, since there the addresses come last. docs/failover.md has the whole order.
#
#   primary-backup.sh primary | backup | fault
#
#   SPLICECTL     the command line of splicectl          (default: splicectl)
#   SPLICED_CONF  the configuration file of the daemon   (default: /etc/spliced/spliced.conf)
#   SPLICED_LOCK  taken for as long as a change lasts    (default: /run/lock/spliced-notify.lock)
#
# Exit status: 0 when every step was done, else that of the last step that was not. A step that
# fails does not keep the later ones from being tried: half a takeover is better than none.

SPLICECTL="${SPLICECTL:-splicectl -C ${SPLICED_CONF:-/etc/spliced/spliced.conf}}"
status=0

say() {
  echo "$(date '+%Y-%m-%dT%H:%M:%S%z') primary-backup.sh: $*" >&2
}

step() {
  # SPLICECTL is a command with its arguments: it is meant to be split
  # shellcheck disable=SC2086
  $SPLICECTL "$@"
  result=$?
  if [ "$result" -ne 0 ]; then
    say "splicectl $* failed with exit status $result"
    status=$result
  fi
}

# keepalived starts its scripts without waiting for the one before: one at a time, in their order.
# Not for ever, though: a change that hangs must not keep a takeover from happening.
lock="${SPLICED_LOCK:-/run/lock/spliced-notify.lock}"
if true 2>/dev/null >>"$lock"; then
  exec 9>>"$lock"
  flock -w 10 9 || say "going on without the lock: the change before this one has not ended in 10 s"
else
  say "going on without the lock: $lock cannot be written"
fi

case "$1" in
  primary)
    # Refused when the address has gone again meanwhile: then the flows are the peer's.
    step role primary
    [ "$status" -eq 0 ] || exit "$status"
    # The peers yield, their entries become this node's own, in its kernel, and only then it answers for
    # the addresses, which keepalived has set already; the guard ends GuardTimeout later. The daemon has
    # done so already if VirtualAddress tells it which address to look for.
    step commit --if-here
    # No flush, which conntrackd's script has here: commit has moved the entries to the internal cache
    # already, and a peer that asked between a flush and the resync would be told that there are none.
    # The internal cache is held to the kernel table: entries that had to give way are dropped ...
    step resync
    # ... and the other nodes learn all that this one owns.
    step bulk
    ;;
  backup)
    # Not the owner any more: the guard is armed for the next takeover. conntrackd's script shortens
    # the kernel's timers here. spliced does it by itself, and not before a peer has taken over: what
    # the peer owns goes out of this kernel, and only what it never learnt of is left to age. If
    # nobody takes over, the address comes back to flows that were not hurt.
    step role backup
    # All that the other nodes own, in case this one has just come up.
    step request
    ;;
  fault)
    step role fault
    ;;
  *)
    say "unknown state '$1': expected primary, backup or fault"
    exit 2
    ;;
esac

say "$1: $([ "$status" -eq 0 ] && echo 'done' || echo "ended with exit status $status")"
exit "$status"
