#!/usr/bin/env bash
# Prints a directory with what the interop tests run: bin/node, bin/python3, bin/chromium and node_modules. Progress goes to stderr.
#
# Missing commands and Python modules are installed with apt-get, as root on Debian; elsewhere the script says what to
# install. The JavaScript packages are those of node/package-lock.json, checked against its hashes, and so is Node.js
# itself where the machine's is older than they need (Debian 12's is). They are kept outside the checkout.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
node=$here/node
version=$(cat "$node"/{,runtime/}package-lock.json | sha256sum | cut -c1-12)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/m2m-operator/interop-$version-$(uname -s)-$(uname -m)

say() { printf '%s\n' "$*" >&2; }

# python: one that has the libraries, which need not be the first in the path.
python() {
  local candidate
  for candidate in python3 /usr/bin/python3; do
    candidate=$(command -v "$candidate") || continue
    if "$candidate" -c 'import authlib, requests, requests_oauthlib, sys; print(sys.executable)' 2>/dev/null; then return; fi
  done
  return 1
}

# missing_packages: the Debian packages of what is not installed.
missing_packages() {
  local command need=()
  for command in curl jq npm chromium; do command -v "$command" >/dev/null || need+=("$command"); done
  [ -n "$(python)" ] || need+=(python3-authlib python3-requests-oauthlib)
  command -v nginx >/dev/null && [ -e /usr/share/nginx/modules-available/mod-http-js.conf ] || need+=(nginx libnginx-mod-http-js)
  echo "${need[*]}"
}

install_packages() {
  local need
  read -ra need <<<"$(missing_packages)"
  [ ${#need[@]} -gt 0 ] || return 0
  if [ "$EUID" != 0 ] || ! command -v apt-get >/dev/null; then
    say "The interop tests need what these Debian packages have: ${need[*]}. Install them, or their like."
    exit 1
  fi
  say "installing with apt-get: ${need[*]}"
  # At runlevel 1 no service is started that a package brings.
  { apt-get update && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${need[@]}"; } \
    >"$cache.log" 2>&1 </dev/null || { say "apt-get could not install ${need[*]}:"; tail -n 20 "$cache.log" >&2; exit 1; }
}

# packages DIRECTORY: the packages of the directory's package-lock.json, in $cache/DIRECTORY/node_modules.
packages() {
  mkdir -p "$cache/$1"
  cp "$node/$1"/package{,-lock}.json "$cache/$1/"
  npm --prefix "$cache/$1" ci --no-audit --no-fund --no-update-notifier >"$cache.log" 2>&1 </dev/null ||
    { say "npm ci failed:"; tail -n 20 "$cache.log" >&2; exit 1; }
}

# recent NODE: whether it is as new as package.json asks for.
recent() {
  # shellcheck disable=SC2016 # it is JavaScript
  "$1" -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)' 2>/dev/null
}

mkdir -p "$cache/bin"
exec 9>"$cache/.lock" # who comes second waits, and finds everything installed
! command -v flock >/dev/null || flock 9
install_packages
ln -sfn "$(python)" "$cache/bin/python3"
ln -sfn "$(command -v chromium)" "$cache/bin/chromium"
if [ ! -e "$cache/complete" ]; then
  say "installing the JavaScript packages of test/interop/node (some seconds, once)"
  packages .
fi
runtime=$(command -v node || :)
if ! recent "$runtime"; then
  [ -n "$(compgen -G "$cache/runtime/node_modules/*/bin/node")" ] || packages runtime
  runtime=$(compgen -G "$cache/runtime/node_modules/*/bin/node") || { say "Install Node.js 20.19 or later."; exit 1; }
fi
ln -sfn "$runtime" "$cache/bin/node"
touch "$cache/complete"
echo "$cache"
