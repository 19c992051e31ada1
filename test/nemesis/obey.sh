#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# In a machine: each line on the console is a number and a command; after what that says comes a line with
# the number and its status (machines.ts).
stty -echo
echo "machine: obeys"
while read -r number line; do
  eval "$line" </dev/null
  echo "machine: answer $number $?"
done
