#!/bin/sh
# Runs every fuzz target of the repository for $FUZZTIME each (3s unless told).
set -eu
GO=${GO:-go}
: "${FUZZTIME:=3s}"
count=0
for dir in $($GO list -f '{{.Dir}}' ./... | grep -v /integration); do
	for target in $(grep -ho '^func Fuzz[A-Za-z0-9_]*' "$dir"/*_test.go 2>/dev/null | sed 's/^func //' | sort -u); do
		echo "fuzz $target in ${dir#"$PWD"/} for $FUZZTIME"
		$GO test -run='^$' -fuzz="^$target\$" -fuzztime="$FUZZTIME" -fuzzminimizetime=10x "$dir" >/tmp/coral-fuzz.$$ 2>&1 || { cat /tmp/coral-fuzz.$$; rm -f /tmp/coral-fuzz.$$; exit 1; }
		count=$((count + 1))
	done
done
rm -f /tmp/coral-fuzz.$$
[ "$count" -gt 0 ] || { echo "no fuzz targets found"; exit 1; }
echo "$count fuzz targets found nothing"
