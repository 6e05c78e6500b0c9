#!/bin/sh
# Prints the path of a Python that has what requirements.txt pins: the checkout's own virtual
# environment in .cache/venv, made on the first call (torch is a 5 GB install, about two minutes).
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH= cd -- "$here/../.." && pwd)
venv=$root/.cache/venv
stamp=$venv/.coral-requirements
py=$venv/bin/python
if [ -x "$py" ] && cmp -s "$here/requirements.txt" "$stamp"; then
	echo "$py"
	exit 0
fi
command -v python3 >/dev/null || { echo "venv.sh: no python3: install Python 3.10 or newer" >&2; exit 1; }
echo "installing torch, transformers and friends into $venv (once; about 5 GB)" >&2
if [ ! -x "$py" ] || ! "$py" -m pip --version >/dev/null 2>&1; then
	rm -rf "$venv"
	if ! python3 -m venv "$venv" >/dev/null 2>&1; then
		# Debian's python3 comes without ensurepip: bring pip in another way
		rm -rf "$venv"
		python3 -m venv --without-pip "$venv" || { echo "venv.sh: python3 -m venv does not work: apt-get install python3-venv" >&2; exit 1; }
		if python3 -m pip --version >/dev/null 2>&1; then
			python3 -m pip --python "$py" install -q pip >&2
		else
			echo "venv.sh: Python has neither ensurepip nor pip: apt-get install python3-venv" >&2
			exit 1
		fi
	fi
fi
"$py" -m pip install -q --disable-pip-version-check -r "$here/requirements.txt" >&2
cp "$here/requirements.txt" "$stamp"
echo "$py"
