#!/usr/bin/env bash
# Says which program boots machines: the qemu-system-x86_64 that is installed, or else one unpacked in
# FOLDER from the distribution's packages, with the libraries that are missing here.
#
#   qemu.sh FOLDER
#
# It is not installed, because apt may have to remove something for it: the qemu-utils that is there
# may be of another release (backports), and the two do not agree. Needs apt's lists, and no root
# unless those are missing or old.
set -euo pipefail

die() { echo "qemu: $*" >&2; exit 1; }
[ $# = 1 ] || die "usage: qemu.sh FOLDER"
if command -v qemu-system-x86_64; then exit; fi
mkdir -p "$1"
folder=$(cd "$1" && pwd)
program=$folder/qemu/qemu-system-x86_64

# One at a time; the next one finds it done.
exec 9>"$folder/qemu.lock"
flock 9
if [ -x "$program" ]; then echo "$program"; exit; fi
command -v apt-get >/dev/null || die "qemu-system-x86_64 is missing, and this is no Debian or Ubuntu"

work=$(mktemp -d "$folder/.qemu.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/archives/partial" "$work/root"

# All that apt would install, into a folder of our own.
fetch() {
    apt-get install --download-only -y -q --no-install-recommends -o Debug::NoLocking=1 \
        -o APT::Sandbox::User=root -o "Dir::Cache::archives=$work/archives" qemu-system-x86 >"$work/log" 2>&1
}
echo "qemu: unpacking Debian's in $folder/qemu" >&2
fetch || {
    "$(dirname "$0")/../as-root.sh" apt-get update -q >"$work/update.log" 2>&1 || cat "$work/update.log" >&2
    fetch || die "apt could not fetch qemu-system-x86: $(tail -n 5 "$work/log")"
}
for package in "$work"/archives/*.deb; do dpkg -x "$package" "$work/root"; done

cat >"$work/qemu-system-x86_64" <<'END'
#!/bin/sh
root=$(dirname "$0")/root
libraries=$(echo "$root"/usr/lib/*-linux-gnu*):$(echo "$root"/lib/*-linux-gnu*)
export LD_LIBRARY_PATH="$libraries" QEMU_MODULE_DIR="${libraries%%:*}/qemu"
exec "$root/usr/bin/qemu-system-x86_64" -L "$root/usr/share/qemu" -L "$root/usr/share/seabios" \
    -L "$root/usr/lib/ipxe/qemu" "$@"
END
chmod 755 "$work/qemu-system-x86_64"
"$work/qemu-system-x86_64" --version >"$work/log" 2>&1 || die "what was unpacked does not run: $(cat "$work/log")"
rm -rf "$work/archives" "$folder/qemu"
mv "$work" "$folder/qemu"
trap - EXIT
echo "$program"
