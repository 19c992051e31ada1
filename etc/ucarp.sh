#!/bin/sh
# Starts ucarp, where it and not keepalived moves the addresses; docs/failover.md explains it.

ucarp --interface=eth0 --srcip=192.0.2.1 --vhid=51 --passfile=/etc/spliced/carp.password \
      --addr=192.0.2.100 --advbase=1 --advskew=0 --deadratio=3 --shutdown \
      --upscript=/etc/spliced/ucarp-up.sh --downscript=/etc/spliced/ucarp-down.sh &
echo $! >/run/ucarp.pid
