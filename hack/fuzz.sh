#!/usr/bin/env bash
# Runs the fuzz tests of the module, or of the packages that are named, one after the other, each for a time such as 30s.
# It stops at the first that finds something, and says in which file that is: go test runs it from then on, until it is
# mended.
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:?how long each runs, such as 30s}
shift
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# Packages that cannot have one need not be built to be asked.
files=$(go list -f '{{range .TestGoFiles}}{{$.Dir}}/{{.}} {{end}}{{range .XTestGoFiles}}{{$.Dir}}/{{.}} {{end}}' "${@:-./...}")
packages=$(grep -l '^func Fuzz' $files | xargs -n 1 dirname | sort -u)
targets=()
for package in $packages; do
  names=$(go test -list '^Fuzz' "$package" | grep '^Fuzz')
  for name in $names; do targets+=(".${package#"$PWD"} $name"); done
done

# Go 1.26 may fail when the time is over, although nothing was found: go.dev/issue/75804, mended in 1.27.
nothing_found() { [ "$(sed -n '/^--- FAIL/,/^FAIL$/{//!p;}' "$log")" = "    context deadline exceeded" ]; }

for i in "${!targets[@]}"; do
  read -r package name <<<"${targets[$i]}"
  echo "-- $((i + 1)) of ${#targets[@]}: $name in $package, $time"
  # What is interesting or wrong is made smaller only for a moment: by default it would take all the time.
  go test -run '^$' -fuzz "^$name\$" -fuzztime "$time" -fuzzminimizetime 2s -parallel 2 "$package" 2>&1 | tee "$log" || {
    nothing_found && continue
    crasher=$(sed -n 's/^ *Failing input written to //p' "$log")
    echo "$name in $package fails${crasher:+ with ${package#./}/$crasher}"
    exit 1
  }
done
