#!/bin/bash
# Makes the image's root file system in a new directory: Debian's packages, unpacked without running
# anything of theirs, and `isthmus[all]` out of a directory of wheels. Needs root, and no rights
# beyond those that a container's build has. Two runs over the same packages and wheels are equal.
set -euo pipefail
[ $# -eq 2 ] || { echo "usage: rootfs.sh WHEELS ROOT" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
wheels=$(cd "$1" && pwd)
root=$2
suite=bookworm
version=3.11
python=${PYTHON:-python$version}
site=$root/usr/local/lib/python$version/dist-packages
: "${SOURCE_DATE_EPOCH:?the time that every file is to have, in seconds since 1970}"
export SOURCE_DATE_EPOCH LC_ALL=C PYTHONHASHSEED=0
umask 022

listed() { grep -v '^#' "$here/$1"; }

[ ! -e "$root" ] || { echo "$root is there already" >&2; exit 1; }
[ "$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')" = $version ] || {
  echo "The image holds Python $version: set PYTHON to one, with pip" >&2; exit 1; }

# DEBIAN_SOURCES is a mirror, or a file of lines for apt, for example of a snapshot.
mmdebstrap --quiet --mode=root --variant=extract --format=directory --skip=chroot/mount \
  --setup-hook='for name in bin lib lib64 sbin; do
    mkdir -p "$1/usr/$name" && ln -s "usr/$name" "$1/$name"; done' \
  --include="$(listed packages | paste -sd,)" --aptopt='APT::Install-Recommends "0"' \
  --extract-hook='mkdir "$1/var/lib/dpkg/status.d"; for deb in "$1"/var/cache/apt/archives/*.deb; do
    dpkg-deb -f "$deb" >"$1/var/lib/dpkg/status.d/$(dpkg-deb -f "$deb" Package)"; done' \
  $suite "$root" ${DEBIAN_SOURCES:+"$DEBIAN_SOURCES"}

# What scripts of the packages would have done.
install -m 644 "$root/usr/share/base-passwd/passwd.master" "$root/etc/passwd"
install -m 644 "$root/usr/share/base-passwd/group.master" "$root/etc/group"
install -m 644 "$root/usr/share/libc-bin/nsswitch.conf" "$root/etc/nsswitch.conf"
sed -i 's/:\*:/:x:/' "$root/etc/passwd"
echo 'isthmus:x:10001:0:isthmus:/var/lib/isthmus:/usr/sbin/nologin' >>"$root/etc/passwd"
find "$root/usr/share/ca-certificates" -name '*.crt' | sort | xargs cat \
  >"$root/etc/ssl/certs/ca-certificates.crt"
ln -s /usr/share/zoneinfo/Etc/UTC "$root/etc/localtime"

PIP_CONFIG_FILE=/dev/null "$python" -m pip --isolated --quiet --disable-pip-version-check install \
  --no-index --no-deps --no-compile --no-warn-script-location --root-user-action ignore \
  --target "$site" "$wheels"/*.whl
# The programs that pip writes name the Python of this machine, and the records sum them.
rm -rf "$site/bin" "$site"/*.dist-info/{RECORD,REQUESTED,direct_url.json}
install -D -m 755 "$here/isthmus" "$root/usr/local/bin/isthmus"
install -D -m 755 "$here/start" "$root/usr/local/bin/start"

listed unwanted | while read -r pattern; do
  # shellcheck disable=SC2086 # the pattern is to be expanded
  (cd "$root" && rm -rf $pattern)
done
find "$root/usr/share/doc" -type f ! -name copyright -delete
find "$root/usr/share/doc" -type l -delete
find "$site" -depth -type d \( -name tests -o -name test \) -exec rm -rf {} +
find "$site" -type f \( -name '*.pyi' -o -name '*.c' -o -name '*.h' -o -name '*.pyx' -o -name '*.pxd' \) -delete
# Symbols for debuggers are a fifth of it. What `patchelf` has been at is left alone.
find "$site" -name '*.so' ! -path '*.libs/*' -exec strip --strip-unneeded {} +
find "$root/usr/share/doc" "$site" -depth -type d -empty -delete

# The root is read-only when it runs: what is not compiled now is compiled at every start.
find "$root/usr" -depth -type d -name __pycache__ -exec rm -rf {} +
"$python" -m compileall -q -j 1 --invalidation-mode unchecked-hash -s "$root" -p / \
  "$root/usr/lib/python$version" "$site"

# The group of a user that Kubernetes made up is root's.
install -d -m 770 -o 10001 -g 0 "$root/var/lib/isthmus"
find "$root" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
