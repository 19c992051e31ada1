#!/bin/sh
# ucarp's up script: this node becomes the active one. First the flows, then the addresses, so that no
# packet meets a node that does not know its flow.
#
#   ucarp --upscript=/etc/spliced/ucarp-up.sh --downscript=/etc/spliced/ucarp-down.sh --shutdown ...
#
#   ucarp-up.sh INTERFACE ADDRESS [FILE]    as ucarp calls it; FILE is its --xparam
#
# FILE (default: /etc/spliced/addresses) has the addresses that move, the one that ucarp knows among
# them: a line each as `ip address` takes it, such as "192.0.2.100/32 dev eth0".
#
#   SPLICECTL     the command line of splicectl          (default: splicectl)
#   SPLICED_CONF  the configuration file of the daemon   (default: /etc/spliced/spliced.conf)
#
# Exit status: 0, or that of the last step that failed; the later ones are tried all the same.

SPLICECTL="${SPLICECTL:-splicectl -C ${SPLICED_CONF:-/etc/spliced/spliced.conf}}"
addresses="${3:-/etc/spliced/addresses}"
status=0

failed() {
  status=$1
  echo "$(date '+%Y-%m-%dT%H:%M:%S%z') ucarp-up.sh: $2 failed with exit status $1" >&2
}

# The peer yields, and its entries become this node's own. A daemon that does not answer is no reason to
# leave nobody at the address.
# SPLICECTL is a command with its arguments: it is meant to be split
# shellcheck disable=SC2086
$SPLICECTL commit || failed $? 'splicectl commit'

# IPv6 at once, without a second of asking whether somebody else has it; and as deprecated, so that
# nothing chooses it as a source by itself. The daemon announces what comes.
while read -r address; do
  case "$address" in
    '' | '#'*) continue ;;
    *:*) flags='nodad preferred_lft 0' ;;
    *) flags='' ;;
  esac
  # shellcheck disable=SC2086
  ip address replace $address $flags || failed $? "ip address replace $address"
done <"$addresses"
exit "$status"
