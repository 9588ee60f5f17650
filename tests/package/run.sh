#!/usr/bin/env bash
# The packages on a real Debian that boots, in a container of its own: nothing of it reaches the
# machine, and everything dies with it.
#
#   run.sh BUILT WORK
#
# BUILT holds the programs. WORK keeps the Debian that is downloaded once, and the packages.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

die() { echo "package test: $*" >&2; exit 1; }

# 1. Outside: packages, what can be seen in them, and a Debian to put them on.
outside() {
    [ $# = 2 ] || die "usage: run.sh BUILT WORK"
    [ "$(id -u)" = 0 ] || die "booting a container needs root"
    local built
    built=$(cd "$1" && pwd)
    mkdir -p "$2"
    work=$(cd "$2" && pwd)
    rm -rf "$work/packages" "$work/later"
    for kind in deb rpm; do
        "$here/../../package/build.sh" $kind "$built" "$work/packages"
        VERSION=99.0.0 "$here/../../package/build.sh" $kind "$built" "$work/later"
    done
    "$here/contents.sh" "$built" "$work/packages"
    if [ ! -e "$work/debian-12.tar" ]; then
        mmdebstrap --quiet --variant=minbase --include="$(tr '\n' ' ' <"$here/debian")" \
            bookworm "$work/debian-12.new.tar"
        mv "$work/debian-12.new.tar" "$work/debian-12.tar"
    fi
    PACKAGE_TEST_INSIDE=1 exec unshare --mount --pid --fork --kill-child --mount-proc --net --uts --ipc --cgroup \
        bash "$here/run.sh" "$work"
}

in_container() {
    nsenter -t "$init" -m -u -i -n -p -C -- env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 "$@"
}

# Begins the container and waits until it is up. Sets nspawn and init, their pids.
boot() {
    local _
    systemd-nspawn --quiet --register=no --keep-unit --system-call-filter='adjtimex clock_adjtime' \
        --directory="$root" --boot >"$work/console" 2>&1 &
    nspawn=$!
    for _ in $(seq 300); do
        init=$(pgrep -P "$nspawn" || true)
        if [ -n "$init" ] && in_container systemctl is-system-running 2>/dev/null | grep -qE 'running|degraded'; then
            return
        fi
        kill -0 "$nspawn" 2>/dev/null || break
        sleep 0.2
    done
    tail -n 30 "$work/console" >&2
    die "the container did not boot"
}

# 2. A container. systemd in it wants the second version of control groups, and only them.
inside() {
    root=$work/debian
    mount --make-rprivate /
    mkdir -p "$root"
    mount -t tmpfs -o size=4g,mode=0755 tmpfs "$root"
    tar -C "$root" -xf "$work/debian-12.tar"
    mkdir -p "$root/opt/test"
    cp -r "$here"/inside "$work"/packages "$work"/later "$root/opt/test"
    echo web1 >"$root/etc/hostname"
    echo 127.0.1.1 web1 >>"$root/etc/hosts"
    ip link set lo up
    umount -R /sys/fs/cgroup
    mount -t cgroup2 none /sys/fs/cgroup
    # nspawn keeps its notes there.
    mount -t tmpfs tmpfs /run
    boot
    in_container bash /opt/test/inside/deb.sh
    in_container systemctl --no-block reboot
    # As far as nspawn's own way to begin again goes: it ends here, so that it can be begun.
    wait "$nspawn" || true
    boot
    in_container bash /opt/test/inside/rebooted.sh
    in_container bash /opt/test/inside/rpm.sh
    echo "package test: all of it passed"
}

if [ -z "${PACKAGE_TEST_INSIDE:-}" ]; then outside "$@"; else work=$1 inside; fi
