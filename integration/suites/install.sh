#!/bin/sh
# Brings the outside test suites into .cache/tools: pjdfstest and fsx by cargo, the others from Debian's packages, unpacked and not installed.
# What the system has is left alone. What cannot be had is named, and its tests say CANNOT RUN: this script fails only if it has nothing to work in.
set -eu
root=$(CDPATH= cd -- "$(dirname -- "$0")/../.." && pwd)
tools=$root/.cache/tools
mkdir -p "$tools"
missing=

# crate NAME VERSION : builds a program of crates.io
crate() {
	[ ! -x "$tools/cargo/bin/$1" ] || return 0
	if ! command -v cargo >/dev/null; then
		missing="$missing $1(no-cargo)"
		return 0
	fi
	echo "suites: cargo install $1 $2 (a minute)"
	log=$tools/$1.log
	if ! cargo install --quiet --locked --root "$tools/cargo" --version "$2" "$1" >"$log" 2>&1; then
		tail -n 5 "$log" >&2
		missing="$missing $1(cargo-install-failed)"
	fi
}

# starts PROGRAM : it is there, and neither missing nor without a library, whatever it says to --version
starts() {
	code=0
	"$tools/$1" --version >/dev/null 2>&1 || code=$?
	[ "$code" -lt 126 ]
}

# debian PROGRAM PACKAGE... : unpacks packages and writes a starter that finds their libraries
debian() {
	prog=$1
	shift
	if command -v "$prog" >/dev/null || { [ -x "$tools/$prog" ] && starts "$prog"; }; then return 0; fi
	if ! command -v apt-get >/dev/null; then
		missing="$missing $prog(no-apt-get)"
		return 0
	fi
	tmp=$(mktemp -d)
	chmod 755 "$tmp"
	if ! fetch "$tmp" "$@" && ! { apt-get -qq update >/dev/null 2>&1 && fetch "$tmp" "$@"; }; then
		rm -rf "$tmp"
		missing="$missing $prog(apt-get-download-failed)"
		return 0
	fi
	for deb in "$tmp"/*.deb; do dpkg -x "$deb" "$tools/root"; done
	rm -rf "$tmp"
	bin=$(find "$tools/root/usr/bin" "$tools/root/bin" -name "$prog" 2>/dev/null | head -n 1)
	# no path of this checkout is in it: it may be moved
	printf '#!/bin/sh\nroot=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)/root\nLD_LIBRARY_PATH=$(echo "$root"/usr/lib/*-linux-gnu*) exec "$root/%s" "$@"\n' "${bin#"$tools/root/"}" >"$tools/$prog"
	chmod +x "$tools/$prog"
	if ! starts "$prog"; then
		rm -f "$tools/$prog"
		missing="$missing $prog(does-not-start)"
	fi
}

# closure PACKAGE... : the packages, and what they need that is not installed
closure() {
	for p in "$@"; do echo "$p"; done
	apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances "$@" 2>/dev/null | grep '^[a-z0-9]' | sort -u |
		while read -r p; do dpkg -s "$p" 2>/dev/null | grep -q '^Status: install ok installed' || echo "$p"; done
}

# fetch DIR PACKAGE... : downloads the closure of the packages
fetch() {
	dir=$1
	shift
	# shellcheck disable=SC2046 # one word a package
	(cd "$dir" && apt-get -qq download $(closure "$@" | sort -u) >/dev/null 2>&1) && ls "$dir"/*.deb >/dev/null 2>&1
}

crate pjdfstest 0.2.2
crate fsx 0.3.2
debian fio fio
debian stress-ng stress-ng
debian dbench dbench
debian fs_mark fsmark
if [ ! -e /usr/share/dbench/client.txt ] && [ ! -e "$tools/root/usr/share/dbench/client.txt" ]; then missing="$missing dbench-loadfile"; fi
if [ -n "$missing" ]; then echo "suites: CANNOT INSTALL:$missing"; fi
