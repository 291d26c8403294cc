#!/bin/bash
# Makes a directory of wheels that holds isthmus[all] and what that needs, each checked against
# requirements.lock, and nothing more. Run it in the root of the repository.
set -euo pipefail
[ $# -eq 1 ] || { echo "usage: wheels.sh NEW_DIRECTORY" >&2; exit 2; }
python=${PYTHON:?the Python that the wheels are for}
out=$1
: "${SOURCE_DATE_EPOCH:?the time that files in the wheel are to have, in seconds since 1970}"
export SOURCE_DATE_EPOCH PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
umask 022

work=$(mktemp -d "$out.XXXXXX")
trap 'rm -rf "$work"' EXIT
# Indices and mirrors are those of whoever builds; from here on there are none.
"$python" -m pip download -qq --only-binary :all: --require-hashes -r requirements.lock \
  --dest "$work/all"
alone=(env PIP_CONFIG_FILE=/dev/null "$python" -m pip --isolated --quiet)
"${alone[@]}" install --root-user-action ignore --no-index --find-links "$work/all" --target "$work/tools" hatchling
PYTHONPATH=$work/tools PYTHONHASHSEED=0 "${alone[@]}" wheel --no-index --no-deps --no-build-isolation \
  --wheel-dir "$work/all" .
"${alone[@]}" wheel --no-index --find-links "$work/all" --wheel-dir "$work/out" 'isthmus[all]'
mv "$work/out" "$out"
