#!/usr/bin/env bash
# Measures the whole of it in a private world and prints one Markdown table.
#
#   run.sh PROGRAMS TARGET
#
# PROGRAMS holds pam_jit.so, jit-agentd and jit as they are installed; TARGET is cargo's folder, with
# release/pam-bench and the results of `cargo bench`. ROUNDS and CONCURRENT may be set.
# Ends with 0 only if every piece was measured.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
die() { echo "bench: $*" >&2; exit 1; }

[ $# = 2 ] || die "usage: run.sh PROGRAMS TARGET; 'make bench' does it all"
[ "$(id -u)" = 0 ] || die "the private world needs root"
programs=$(cd "$1" && pwd)
target=$(cd "$2" && pwd)
[ -x "$target/release/pam-bench" ] || die "$target/release/pam-bench is missing; 'make bench' builds it"

# The PAM side of nslcd. Its package is not installed, because that edits the machine's PAM files.
fetch_pam_ldap() {
    (
        cd "$disk"
        apt-get download -q -o APT::Sandbox::User=root libpam-ldapd >apt.log 2>&1 ||
            { cat apt.log >&2; die "libpam-ldapd could not be downloaded"; }
        dpkg-deb -x libpam-ldapd_*.deb unpacked
        find unpacked -name pam_ldap.so -exec cp {} "$1" ';'
        rm -r unpacked libpam-ldapd_*.deb apt.log
    )
    [ -s "$1/pam_ldap.so" ] || die "no pam_ldap.so in libpam-ldapd"
}

# The world is one tmpfs, on which a flush costs nothing. What has to be on a disk is in a folder
# of the target's, which the world sees as /mnt, and only the world.
if [ -z "${BENCH_INSIDE:-}" ]; then
    disk=$(mktemp -d "$target/bench-disk.XXXXXX")
    files=$(mktemp -d)
    trap 'rm -rf "$disk" "$files"' EXIT
    cp "$here/inside.sh" "$target/release/pam-bench" "$files"
    cc -O2 -shared -fPIC -o "$files/pam_echo.so" "$here/echo.c" || die "no pam_echo.so to compare with"
    fetch_pam_ldap "$files"
    chmod 755 "$files"
    BENCH_INSIDE=$disk WORLD_FILES=$files unshare --mount "$0" "$programs" "$target" ||
        die "something was not measured; it says above what"
    exit
fi
mount --bind "$BENCH_INSIDE" /mnt
rows=/mnt/rows

# What `cargo bench` found: NAME of a group as criterion writes it, parameter, words for the table.
criterion() {
    local file="$target/criterion/$1/$2/new/estimates.json" nanos
    [ -s "$file" ] || die "$file is missing: 'cargo bench' did not measure it"
    nanos=$(sed -E 's/.*"median":\{[^}]*\},"point_estimate":([0-9.e+-]+).*/\1/;t;d' "$file")
    [ -n "$nanos" ] || die "$file: no median in it"
    awk -v what="$3" -v n="$nanos" 'BEGIN {
        unit = "ns"
        if (n >= 1e6) { n /= 1e6; unit = "ms" } else if (n >= 1e3) { n /= 1e3; unit = "µs" }
        printf "| %s | %.*f %s | | |\n", what, (n < 10 ? 2 : n < 100 ? 1 : 0), n, unit
    }'
}

# shellcheck disable=SC2016 # Markdown
parts() {
    local size
    echo '| **Parts** | median | | |'
    for size in 1 1000 100000; do
        criterion 'decide_ one grant of mine among' $size "decide: one grant of mine among $size on the host"
    done
    for size in 1 1000 100000; do
        criterion 'bundle_ load' "as kept/$size" "bundle, as kept: verify, read and index $size grants"
    done
    for size in 1 1000 100000; do
        criterion 'bundle_ load' "as sent/$size" "bundle, as sent: verify, read and index $size grants"
    done
    criterion protocol 'ask_ encode' 'protocol: encode what the module asks'
    criterion protocol 'ask_ decode' 'protocol: decode it'
    criterion protocol 'verdict_ encode' 'protocol: encode a verdict'
    criterion protocol 'verdict_ decode' 'protocol: decode it'
}

parts >/mnt/parts
ROUNDS=${ROUNDS:-500} CONCURRENT=${CONCURRENT:-200} \
    "$here/../world/world.sh" "$programs" bash /opt/world/inside.sh "$rows"
size=$(stat -c %s "$programs/pam_jit.so")

cpu=$(sed -n 's/^model name[[:space:]]*: //p;T;q' /proc/cpuinfo)
read -r load _ </proc/loadavg
echo
echo "$(date -u +%F), $(nproc) × ${cpu:-$(uname -m)}, Linux $(uname -r)," \
    "journal on $(findmnt -no FSTYPE -T /mnt), load $load."
echo
echo '| | | | |'
echo '|---|--:|--:|--:|'
cat "$rows" /mnt/parts
echo "| pam_jit.so, stripped | $((size / 1024)) KiB | | |"
