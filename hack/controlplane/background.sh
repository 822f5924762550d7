#!/usr/bin/env bash
# start: leave a control plane running and print its KUBECONFIG; stop: end it.
set -euo pipefail
cd "$(dirname "$0")/../.."
pidfile=bin/controlplane.pid out=bin/controlplane.out log=bin/controlplane.log

# A pid file may outlive its process, and the number be somebody else's by now.
running() {
  local pid
  pid=$(cat "$pidfile" 2>/dev/null) && [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null || return 1
  case $(ps -o args= -p "$pid" 2>/dev/null) in *bin/controlplane*) ;; *) return 1 ;; esac
}

start() {
  if running; then
    echo "A control plane is running already (make controlplane-stop ends it):" >&2
    cat "$out"
    return
  fi
  : >"$out"
  setsid bin/controlplane >"$out" 2>"$log" </dev/null &
  echo $! >"$pidfile"
  echo "Starting etcd and kube-apiserver ..." >&2
  until [ -s "$out" ]; do
    running || { cat "$log" >&2; echo "The control plane did not start: see $log" >&2; exit 1; }
    sleep 0.2
  done
  cat "$out"
  echo "Run the line above, then for example: kubectl api-resources --categories=m2m. To end it: make controlplane-stop" >&2
}

stop() {
  running || { echo "No control plane is running." >&2; rm -f "$pidfile"; return; }
  kill "$(cat "$pidfile")"
  while running; do sleep 0.1; done
  rm -f "$pidfile" "$out"
}

"$1"
