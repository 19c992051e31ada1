#!/bin/sh
# What keepalived says in its notify fifo, handed to primary-backup.sh one change after the other.
# keepalived starts its notify scripts side by side; lines of a fifo come in the order of the changes.
#
#   vrrp_notify_fifo        /run/keepalived.fifo
#   vrrp_notify_fifo_script "/etc/spliced/vrrp-fifo.sh pair"
#
#   vrrp-fifo.sh NAME FIFO     keepalived adds the fifo's path
#
# NAME is the vrrp_sync_group to follow, or the vrrp_instance that is in none. The instances of a group
# change with it, and are not followed. Environment: that of primary-backup.sh, which is looked for
# beside this script unless SPLICED_NOTIFY names it.
#
# Ends with the fifo, when keepalived does. Exit status: 0, or 2 when it was called in a wrong way.

notify="${SPLICED_NOTIFY:-$(dirname "$0")/primary-backup.sh}"

say() {
  echo "$(date '+%Y-%m-%dT%H:%M:%S%z') vrrp-fifo.sh: $*" >&2
}

if [ $# -ne 2 ] || [ ! -p "$2" ]; then
  say "expected the name of a group or an instance, and a fifo: $*"
  exit 2
fi
followed=$1

# keepalived(5), vrrp_notify_fifo: GROUP|INSTANCE "name" state priority
while read -r kind name state _; do
  [ "$name" = "\"$followed\"" ] || continue
  case "$state" in
    MASTER) "$notify" primary ;;
    BACKUP) "$notify" backup ;;
    FAULT | STOP | DELETED) "$notify" fault ;;
    # a priority that has changed, an advertisement with a lower one: nobody has moved
    *) continue ;;
  esac || say "$kind $followed $state: $notify failed"
done <"$2"
