#!/usr/bin/env bash
# Installs what is missing, and nothing else, on a Debian or Ubuntu machine.
#
#   deps.sh build|demo|test|bench|deb|rpm|package|vm|vagrant
#
# Becomes root, by sudo, only when something has to be installed.
# It is somebody's own machine, so: nothing is removed, nothing that is there is touched, and no
# service that comes with a package is started or enabled. The worlds start their own.
set -euo pipefail

# What is looked for (a program, or a file), and the package that brings it.
build="cc:gcc make:make /usr/include/stdio.h:libc6-dev /usr/include/security/pam_appl.h:libpam0g-dev"
demo="$build sudo:sudo sshd:openssh-server ssh:openssh-client rsyslogd:rsyslog login:login
      chpasswd:passwd unshare:util-linux setpriv:util-linux nsenter:util-linux script:bsdutils
      ip:iproute2 hostname:hostname oathtool:oathtool expect:expect"
test="$demo nginx:nginx openssl:openssl strace:strace pgrep:procps"
# Without qemu-system-x86, which apt may have to remove something for: tests/vm/qemu.sh unpacks it.
vm="mmdebstrap:mmdebstrap mke2fs:e2fsprogs socat:socat flock:util-linux
    expect:expect ssh:openssh-client ssh-keygen:openssh-client
    /usr/share/keyrings/debian-archive-keyring.gpg:debian-archive-keyring"
vagrant="$vm vagrant:vagrant /usr/share/doc/vagrant-libvirt:vagrant-libvirt libvirtd:libvirt-daemon
         virtlogd:libvirt-daemon /etc/libvirt/qemu.conf:libvirt-daemon-system virsh:libvirt-clients qemu-img:qemu-utils
         dnsmasq:dnsmasq-base iptables:iptables ip:iproute2 unshare:util-linux"
# Without libpam-ldapd: to install it edits the machine's PAM files. The benchmark unpacks it.
bench="$demo findmnt:mount slapd:slapd nslcd:nslcd ldapsearch:ldap-utils"
deb="$build strip:binutils dpkg-architecture:dpkg-dev"
rpm="$build strip:binutils /usr/lib/rpm/find-requires:rpm"
package="$deb $rpm lintian:lintian mmdebstrap:mmdebstrap systemd-nspawn:systemd-container man:man-db
         mandoc:mandoc zsh:zsh fish:fish /usr/share/keyrings/debian-archive-keyring.gpg:debian-archive-keyring
         unshare:util-linux nsenter:util-linux ip:iproute2"

policy=/usr/sbin/policy-rc.d
# It says no only while this script lives; left behind by a power cut it is harmless.
policy_text="#!/bin/sh
# Made by pam_jit's tests/deps.sh, and to be deleted if found: packages start no services meanwhile.
[ -d /proc/$$ ] && exit 101
exit 0"
policy_is_ours=false
installing=

die() { echo "deps: $*" >&2; exit 1; }

has() {
    case $1 in
    /*) [ -e "$1" ] ;;
    *) PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null ;;
    esac
}

missing() {
    local pair package list=" "
    for pair in $1; do
        package=${pair##*:}
        if ! has "${pair%:*}" && [[ $list != *" $package "* ]]; then
            list="$list$package "
        fi
    done
    echo "${list# }"
}

units() {
    find /lib/systemd/system /usr/lib/systemd/system -maxdepth 1 \
        \( -name '*.service' -o -name '*.socket' -o -name '*.timer' \) -printf '%f\n' 2>/dev/null | sort -u
}

# Whatever way this ends, also in the middle of apt's work.
clean_up() {
    local unit
    if [ -n "$installing" ] && command -v systemctl >/dev/null; then
        units | comm -13 <(echo "$units_before") - | while read -r unit; do
            systemctl --quiet --no-reload disable "$unit" 2>/dev/null || true
        done
    fi
    if $policy_is_ours; then rm -f $policy; fi
}

hold_services() {
    if grep -qs "pam_jit's tests/deps.sh" $policy; then rm -f $policy; fi
    # One that is there is the administrator's word; on most machines there is none.
    if [ -e $policy ]; then
        grep -q 'exit 101' $policy ||
            die "$policy exists and may let packages start services; install these yourself: $*"
        return
    fi
    policy_is_ours=true
    (umask 022 && echo "$policy_text" >$policy && chmod 755 $policy)
}

install_packages() {
    echo "deps: installing $* (its services are neither started nor enabled)"
    units_before=$(units)
    installing=yes
    trap clean_up EXIT
    trap 'exit 130' INT TERM HUP
    hold_services "$@"
    export DEBIAN_FRONTEND=noninteractive
    local options=(-y -q --no-install-recommends --no-remove
        -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confold)
    # The lists may be there and fresh enough; if not, fetch them and try again.
    apt-get install "${options[@]}" "$@" >/dev/null 2>&1 && return
    apt-get update -q || echo "deps: 'apt-get update' failed; trying with what is known" >&2
    apt-get install "${options[@]}" "$@" ||
        die "apt could not install: $*. It says why above; 'dpkg --configure -a' and another" \
            "'make deps' go on from where it stopped"
}

[ $# = 1 ] && [[ $1 =~ ^(build|demo|test|bench|deb|rpm|package|vm|vagrant)$ ]] ||
    die "usage: deps.sh build|demo|test|bench|deb|rpm|package|vm|vagrant"
wanted=${!1}
packages=$(missing "$wanted")
[ -z "$packages" ] && exit
command -v apt-get >/dev/null ||
    die "this is no Debian or Ubuntu; install yourself what these packages bring: $packages"
[ "$(id -u)" = 0 ] || exec "$(dirname "$0")/as-root.sh" "$0" "$1"
# shellcheck disable=SC2086 # words on purpose
install_packages $packages
packages=$(missing "$wanted")
[ -z "$packages" ] || die "installed, and still not found: $packages"
