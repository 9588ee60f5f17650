#!/usr/bin/env bash
# Everything that a person does with pam_jit, on Debian machines that boot: what `make test-vm` runs.
#
#   test.sh DEB FOLDER [RELEASE[:CHAPTER,...]...]
#
# Builds the disks in FOLDER unless they are there, boots all of them at the same time, and runs the
# scenario's chapters on each (install and then all, or those named). A machine ends with the first
# thing that is not as it has to be, and is shown; the others go on to their own end.
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

# RELEASE[:CHAPTER,...]: all of it on standard output.
try() {
    local release=${1%%:*} start=$SECONDS
    local chapters=(doors time failure records tour doctor package)
    if [ "$1" != "$release" ]; then IFS=, read -ra chapters <<<"${1#*:}"; fi
    # What a machine of that release cannot try; whatever else is skipped there is a failure.
    export VM_SKIPS=
    if [ "$release" = bookworm ]; then VM_SKIPS=sudo-rs; fi
    "$here/boot.sh" "$release" "$folder" "$here/scenario.exp" install "${chapters[@]}" || return
    echo "test-vm: Debian $release passed after $((SECONDS - start)) s"
}

"$here/../as-root.sh" "$here/disk.sh" "$folder" "${@%%:*}"
"$here/qemu.sh" "$folder" >/dev/null

if [ $# = 1 ]; then
    try "$1" || die "Debian ${1%%:*} failed; to look around on a fresh one: tests/vm/boot.sh ${1%%:*} $folder"
    exit
fi

# Each in a process group of its own, so that nothing of it is left when this ends early.
declare -A group
clean_up() {
    local release
    for release in "${!group[@]}"; do kill -TERM -- "-${group[$release]}" 2>/dev/null || true; done
}
trap clean_up EXIT
trap 'exit 130' INT TERM HUP
set -m
for what in "$@"; do
    release=${what%%:*}
    # Shown is how far it is; what was typed and answered is in its log.
    {
        try "$what" 2>&1 | tee "$folder/$release-test.log" |
            sed -u -n -E "/^(=== |[0-9]+\. |   ok |   skipped|   \(wait|FAILED|[a-z-]+: )/s/^/$release: /p"
    } </dev/null &
    group[$release]=$!
done
set +m

failed=()
for release in "${!group[@]}"; do
    wait "${group[$release]}" || failed+=("$release")
    unset "group[$release]"
done
[ ${#failed[@]} -gt 0 ] || exit 0
for release in "${failed[@]}"; do
    echo
    echo "=== The end of $folder/$release-test.log"
    tail -n 80 "$folder/$release-test.log"
done
die "failed: ${failed[*]}; to look around on a fresh one: tests/vm/boot.sh ${failed[0]} $folder"
