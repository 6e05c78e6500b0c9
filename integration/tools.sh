#!/bin/sh
# Brings the outside programs that tests and benchmarks drive (rsync, fusermount3; with "bench" also restic and zstd, with "test" coral-ml, with "peers" all that we compare with) into .cache/tools,
# from Debian's packages and without installing anything on the system. What the system has is left alone.
set -eu
root=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
tools=$root/.cache/tools
mkdir -p "$tools"

# starts PROGRAM : what was brought runs
starts() { "$tools/$1" --version >/dev/null 2>&1 || "$tools/$1" version >/dev/null 2>&1; }

# bring PROGRAM PACKAGE... : unpacks Debian packages and writes a starter that finds their libraries
bring() {
	prog=$1
	shift
	if command -v "$prog" >/dev/null || { [ -x "$tools/$prog" ] && starts "$prog"; }; then return 0; fi
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
	# no path of this checkout is in it: it may be moved
	printf '#!/bin/sh\nroot=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)/root\nLD_LIBRARY_PATH=$(echo "$root"/usr/lib/*-linux-gnu*) exec "$root/%s" "$@"\n' "${bin#"$tools/root/"}" >"$tools/$prog"
	chmod +x "$tools/$prog"
	starts "$prog" || { echo "tools.sh: the unpacked $prog does not start: install $prog" >&2; rm -f "$tools/$prog"; return 1; }
}

bring rsync rsync libpopt0
bring fusermount3 fuse3
case "${1:-}" in
bench | peers)
	bring restic restic
	bring zstd zstd
	;;
esac

# package NAME PIP-ARGUMENT... : installs a Python package into .cache/peers/NAME; one that cannot be had is left out
package() {
	name=$1
	shift
	to=$root/.cache/peers/$name
	[ -f "$to/.coral-$*" ] && return 0
	rm -rf "$to"
	if "$py" -m pip install -q --disable-pip-version-check --target "$to" "$@" >&2; then
		: >"$to/.coral-$*"
	else
		rm -rf "$to"
		echo "tools.sh: cannot install $name: coral bench will call it missing" >&2
	fi
}

case "${1:-}" in
test | peers)
	py=$("$root/integration/python/venv.sh")
	package coral-ml coral-ml==1.0.0 # a test imports a repository that it made
	;;
esac
if [ "${1:-}" = peers ]; then
	package lmz lmzip==1.3.0
	package zipnn --no-deps zipnn==0.5.4
	package bigsmall bigsmall==4.0.0
fi
