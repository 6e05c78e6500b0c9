#!/bin/sh
# Runs every fuzz target of the repository for $FUZZTIME each (3s unless told).
set -eu
GO=${GO:-go}
: "${FUZZTIME:=3s}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
count=0

# run TARGET DIR TIME
run() { $GO test -run='^$' -fuzz="^$1\$" -fuzztime="$3" -fuzzminimizetime=10x -timeout 10m "$2" >"$log" 2>&1; }

for dir in $($GO list -f '{{.Dir}}' ./... | grep -v /integration); do
	for target in $(grep -ho '^func Fuzz[A-Za-z0-9_]*' "$dir"/*_test.go 2>/dev/null | sed 's/^func //' | sort -u); do
		echo "fuzz $target in ${dir#"$PWD"/} for $FUZZTIME"
		if ! run "$target" "$dir" "$FUZZTIME"; then
			# go test sometimes calls its own time limit a failure ("context deadline exceeded", no input written). Then a number of inputs decides.
			if grep -q 'context deadline exceeded' "$log" && ! grep -q 'Failing input' "$log"; then
				echo "  the time limit came in the way; again, 2000 inputs"
				run "$target" "$dir" 2000x || { cat "$log"; exit 1; }
			else
				cat "$log"
				exit 1
			fi
		fi
		count=$((count + 1))
	done
done
[ "$count" -gt 0 ] || { echo "no fuzz targets found"; exit 1; }
echo "$count fuzz targets found nothing"
