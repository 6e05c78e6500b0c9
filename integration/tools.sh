#!/bin/sh
# Brings the outside programs that tests and benchmarks drive (rsync, fusermount3; with "bench" also restic and zstd) into .cache/tools,
# from Debian's packages and without installing anything on the system. What the system has is left alone.
set -eu
root=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
tools=$root/.cache/tools
mkdir -p "$tools"

# bring PROGRAM PACKAGE... : unpacks Debian packages and writes a starter that finds their libraries
bring() {
	prog=$1
	shift
	if command -v "$prog" >/dev/null || [ -x "$tools/$prog" ]; then return 0; fi
	if ! command -v apt-get >/dev/null; then
		echo "tools.sh: no $prog and no apt-get: install $prog" >&2
		return 1
	fi
	tmp=$(mktemp -d)
	if ! (cd "$tmp" && chmod 755 . && apt-get -qq download "$@" >/dev/null 2>&1); then
		apt-get -qq update >/dev/null 2>&1 || true
		(cd "$tmp" && apt-get -qq download "$@" >/dev/null) || { echo "tools.sh: cannot download $*: install $prog" >&2; rm -rf "$tmp"; return 1; }
	fi
	for deb in "$tmp"/*.deb; do dpkg -x "$deb" "$tools/root"; done
	rm -rf "$tmp"
	bin=$(find "$tools/root/usr/bin" "$tools/root/bin" -name "$prog" 2>/dev/null | head -n 1)
	printf '#!/bin/sh\nLD_LIBRARY_PATH=$(echo %s/usr/lib/*-linux-gnu*) exec %s "$@"\n' "$tools/root" "$bin" >"$tools/$prog"
	chmod +x "$tools/$prog"
	"$tools/$prog" --version >/dev/null 2>&1 || "$tools/$prog" version >/dev/null || { echo "tools.sh: the unpacked $prog does not start: install $prog" >&2; rm -f "$tools/$prog"; return 1; }
}

bring rsync rsync libpopt0
bring fusermount3 fuse3
if [ "${1:-}" = bench ]; then
	bring restic restic
	bring zstd zstd
fi
