#!/usr/bin/env bash
# Builds a disk with a small Debian on it, for tests/vm/boot.sh: a stranger's server, with nothing of
# ours on it. Needs root. Does nothing if the disk is there and this file has not changed since.
#
#   disk.sh FOLDER bookworm|trixie...     makes FOLDER/RELEASE.{ext4,vmlinuz,initrd} and FOLDER/key
#
# People on it: root (password root-password) and vagrant, the one who set the machine up: FOLDER/key
# is their ssh key, and sudo asks them no password.
set -euo pipefail

folder=${1:-} release=${2:-}
die() { echo "disk: $*" >&2; exit 1; }
[[ -n $folder && $release =~ ^(bookworm|trixie)$ ]] || die "usage: disk.sh FOLDER bookworm|trixie..."

# Several at the same time.
if [ $# -gt 2 ]; then
    shift
    builders=()
    for release in "$@"; do
        "$0" "$folder" "$release" &
        builders+=($!)
    done
    for builder in "${builders[@]}"; do wait "$builder"; done
    exit
fi

packages=(
    linux-image-cloud-amd64 initramfs-tools systemd-sysv libpam-systemd dbus openssh-server
    sudo login passwd rsyslog iproute2 procps less
    oathtool    # what people's telephones show
    adjtimex    # says to the kernel what a time server would: no time server can be reached
)
if [ "$release" = trixie ]; then packages+=(sudo-rs); fi

umask 022
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)

# One at a time; the next one finds it done.
exec 8>"$folder/key.lock" 9>"$folder/$release.lock"
flock 8
[ -e "$folder/key" ] || ssh-keygen -q -t ed25519 -N '' -C 'pam_jit tests' -f "$folder/key"
exec 8>&-
flock 9
disk=$folder/$release.ext4
recipe=$(cat "$0" "$folder/key.pub" | sha256sum)
if [ -e "$disk" ] && [ "$(cat "$folder/$release.recipe" 2>/dev/null)" = "$recipe" ]; then exit; fi
[ "$(id -u)" = 0 ] || die "building a disk needs root"

work=$(mktemp -d "$folder/.$release.XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT
root=$work/root
log=$folder/$release.log

echo "disk: building Debian $release (minutes; $log)"
mmdebstrap --mode=root --variant=apt --format=directory \
    --include="$(IFS=,; echo "${packages[*]}")" "$release" "$root" >"$log" 2>&1 ||
    die "mmdebstrap failed; the end of $log: $(tail -n 5 "$log")"

put() { # PATH [MODE]: standard input to a file in the new root
    mkdir -p "$root$(dirname "$1")"
    cat >"$root$1"
    chmod "${2:-644}" "$root$1"
}
put /etc/hostname <<<web1
put /etc/hosts <<<$'127.0.0.1 localhost\n127.0.1.1 web1'
put /etc/fstab <<<'/dev/vda / ext4 errors=remount-ro 0 1'
put /etc/motd </dev/null
put /etc/default/locale </dev/null
put /etc/systemd/network/wired.network <<<$'[Match]\nType=ether\n[Network]\nDHCP=ipv4\nLinkLocalAddressing=no'
# The manager that each login starts for its user is dear on a slow core: one a boot will do.
put /etc/systemd/logind.conf.d/slow.conf <<<$'[Login]\nUserStopDelaySec=infinity'
put /etc/sudoers.d/vagrant 440 <<<'vagrant ALL=(ALL) NOPASSWD: ALL'
chroot "$root" /bin/bash -euo pipefail >>"$log" 2>&1 <<'INSIDE' || die "setting it up failed; see $log"
systemd-machine-id-setup
systemctl --quiet enable systemd-networkd ssh
systemctl --quiet mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \
    fstrim.timer man-db.timer systemd-networkd-wait-online.service e2scrub_reap.service
useradd --create-home --shell /bin/bash vagrant
printf 'root:root-password\nvagrant:vagrant\n' | chpasswd
rm -f /etc/update-motd.d/*
INSIDE
install -d -m 700 "$root/home/vagrant/.ssh"
install -m 600 "$folder/key.pub" "$root/home/vagrant/.ssh/authorized_keys"
chroot "$root" chown -R vagrant:vagrant /home/vagrant/.ssh

cp -L "$root"/boot/vmlinuz-* "$folder/$release.vmlinuz"
cp -L "$root"/boot/initrd.img-* "$folder/$release.initrd"
chmod 644 "$folder/$release".{vmlinuz,initrd}
mke2fs -q -F -t ext4 -L root -d "$root" "$work/disk" 3G >>"$log" 2>&1 || die "mke2fs failed; see $log"
mv "$work/disk" "$disk"
echo "$recipe" >"$folder/$release.recipe"
