#!/usr/bin/env bash
# Everything that a person does with pam_jit, on Debian machines that boot: what `make test-vm` runs.
#
#   test.sh DEB FOLDER [RELEASE[:CHAPTER,...]...]
#
# Builds the disks in FOLDER unless they are there, boots each, and runs the scenario's chapters on it
# (install and then all, or those named). Ends with the first thing that is not as it has to be.
set -euo pipefail

die() { echo "test-vm: $*" >&2; exit 1; }
here=$(cd "$(dirname "$0")" && pwd)
[ $# -ge 2 ] || die "usage: test.sh DEB FOLDER [RELEASE[:CHAPTER,...]...]"
[ -e "$1" ] || die "no such package: $1"
DEB=$(realpath "$1")
export DEB
mkdir -p "$2"
folder=$(cd "$2" && pwd)
shift 2
[ $# -gt 0 ] || set -- bookworm trixie

for what in "$@"; do
    release=${what%%:*}
    chapters=(doors time failure records tour doctor package)
    if [ "$what" != "$release" ]; then IFS=, read -ra chapters <<<"${what#*:}"; fi
    start=$SECONDS
    "$here/../as-root.sh" "$here/disk.sh" "$release" "$folder"
    "$here/boot.sh" "$release" "$folder" "$here/scenario.exp" install "${chapters[@]}" ||
        die "Debian $release failed; to look around on a fresh one: tests/vm/boot.sh $release $folder"
    echo "test-vm: Debian $release passed after $((SECONDS - start)) s"
done
