#!/bin/bash
# Makes the image's root file system of what `base.sh` unpacked and a directory of wheels: installs,
# takes away what no server needs, compiles. The same packages and wheels give the same files.
set -euo pipefail
[ $# -eq 2 ] || { echo "usage: finish.sh WHEELS ROOT" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
wheels=$(cd "$1" && pwd)
root=$(cd "$2" && pwd)
site=$root/usr/local/lib/python3.11/dist-packages
: "${SOURCE_DATE_EPOCH:?the time that every file is to have, in seconds since 1970}"
export SOURCE_DATE_EPOCH LC_ALL=C PYTHONHASHSEED=0 ROOT=$root
umask 022

PIP_CONFIG_FILE=/dev/null "$here/python" -m pip --isolated --quiet --disable-pip-version-check \
  install --no-index --no-deps --no-compile --no-warn-script-location --root-user-action ignore \
  --target "$site" "$wheels"/*.whl
# The programs that pip writes name the Python that ran it, and the records sum them.
rm -rf "$site/bin" "$site"/*.dist-info/{RECORD,REQUESTED,direct_url.json}
install -D -m 755 "$here/isthmus" "$root/usr/local/bin/isthmus"
install -D -m 755 "$here/start" "$root/usr/local/bin/start"

# The root is read-only when it runs: what is not compiled now is compiled at every start.
find "$root/usr" -depth -type d -name __pycache__ -exec rm -rf {} +
"$here/python" -m compileall -q -f -j 1 --invalidation-mode unchecked-hash -s "$root" -p / \
  "$root/usr/lib/python3.11" "$site"

grep -v '^#' "$here/unwanted" | while read -r pattern; do
  # shellcheck disable=SC2086 # the pattern is to be expanded
  (cd "$root" && rm -rf $pattern)
done
find "$root/usr/share/doc" -type f ! -name copyright -delete
find "$root/usr/share/doc" -type l -delete
find "$site" -depth -type d \( -name tests -o -name test \) -exec rm -rf {} +
find "$site" -type f \( -name '*.pyi' -o -name '*.c' -o -name '*.h' -o -name '*.pyx' -o -name '*.pxd' \) \
  -delete
# Symbols for debuggers are a fifth of it. What `patchelf` has been at is left alone.
find "$site" -name '*.so' ! -path '*.libs/*' -exec strip --strip-unneeded {} +
find "$root/usr/share/doc" "$site" -depth -type d -empty -delete

# The group of a user that Kubernetes made up is root's.
install -d -m 770 -o 10001 -g 0 "$root/var/lib/isthmus"
find "$root" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
