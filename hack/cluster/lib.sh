# Sourced by cluster.sh and node.sh.
# shellcheck shell=bash

# until_ok SECONDS COMMAND...: tries it again until it succeeds.
until_ok() {
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < end)) || { echo "gave up on: $*" >&2; return 1; }
    sleep 0.1
  done
}
