#!/bin/bash
# Unpacks the image's Debian packages into a new directory, without running anything of theirs. Needs
# root, and no rights beyond those that a container's build has. `python` runs what it unpacked.
set -euo pipefail
[ $# -eq 1 ] || { echo "usage: base.sh NEW_DIRECTORY" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
root=$1
: "${SOURCE_DATE_EPOCH:?the time that every file is to have, in seconds since 1970}"
export SOURCE_DATE_EPOCH LC_ALL=C
umask 022
[ ! -e "$root" ] || { echo "$root is there already" >&2; exit 1; }

# DEBIAN_SOURCES is a mirror, or a file of lines for apt, for example of a snapshot.
mmdebstrap --quiet --mode=root --variant=extract --format=directory --skip=chroot/mount \
  --setup-hook='for name in bin lib lib64 sbin; do
    mkdir -p "$1/usr/$name" && ln -s "usr/$name" "$1/$name"; done' \
  --include="$(grep -v '^#' "$here/packages" | paste -sd,)" \
  --aptopt='APT::Install-Recommends "0"' \
  --extract-hook='mkdir "$1/var/lib/dpkg/status.d"; for deb in "$1"/var/cache/apt/archives/*.deb; do
    dpkg-deb -f "$deb" >"$1/var/lib/dpkg/status.d/$(dpkg-deb -f "$deb" Package)"; done' \
  bookworm "$root" ${DEBIAN_SOURCES:+"$DEBIAN_SOURCES"}

# What scripts of the packages would have done.
install -m 644 "$root/usr/share/base-passwd/passwd.master" "$root/etc/passwd"
install -m 644 "$root/usr/share/base-passwd/group.master" "$root/etc/group"
install -m 644 "$root/usr/share/libc-bin/nsswitch.conf" "$root/etc/nsswitch.conf"
sed -i 's/:\*:/:x:/' "$root/etc/passwd"
echo 'isthmus:x:10001:0:isthmus:/var/lib/isthmus:/usr/sbin/nologin' >>"$root/etc/passwd"
printf '127.0.0.1 localhost\n::1 localhost\n' >"$root/etc/hosts"
find "$root/usr/share/ca-certificates" -name '*.crt' | sort | xargs cat \
  >"$root/etc/ssl/certs/ca-certificates.crt"
ln -s /usr/share/zoneinfo/Etc/UTC "$root/etc/localtime"

# For the build alone: `finish.sh` takes it away.
pip=$("${PYTHON:-python3}" -c 'import os, pip; print(os.path.dirname(pip.__file__))')
mkdir "$root/tmp/tools"
cp -r "$pip" "$root/tmp/tools/"
