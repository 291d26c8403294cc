#!/bin/sh
# Installs Isthmus out of this bundle, with no index and no network:
#   ./install.sh [--python PROGRAM] [DIRECTORY]
# DIRECTORY becomes a Python environment of its own; its `bin/isthmus` is the command.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
python=python3
if [ "${1:-}" = --python ]; then
  python=$2
  shift 2
fi
directory=${1:-/opt/isthmus}

(cd "$here" && sha256sum --check --quiet --strict SHA256SUMS)

version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
grep -qx "$version" "$here/wheels/PYTHONS" || {
  echo "The wheels are for Python $(paste -sd' ' "$here/wheels/PYTHONS"), and $python is $version." >&2
  echo "Name another one: ./install.sh --python PROGRAM" >&2
  exit 1
}

"$python" -m venv "$directory"
# Whatever index or mirror is configured here is not asked.
env PIP_CONFIG_FILE=/dev/null "$directory/bin/python" -m pip --isolated --quiet \
  --disable-pip-version-check install --no-index --find-links "$here/wheels" 'isthmus[all]'
"$directory/bin/isthmus" --version
