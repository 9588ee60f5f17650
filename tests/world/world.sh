#!/usr/bin/env bash
# A private world in which the machine's own sudo, su, login, sshd and rsyslogd run with pam_jit,
# and from which nothing reaches the machine: its own mounts, processes, network, host name and
# System V IPC. Everything written lands on one tmpfs; everything started dies with the world.
#
#   world.sh BIN              make the world, print "ready PID", keep it until stdin closes
#   world.sh BIN COMMAND...   make the world, run COMMAND in it as root, end with its exit status
#
# BIN holds pam_jit.so, jit-agentd and jit. Enter a running world with
#   nsenter -t PID -m -p -n -u -i
# COMMAND finds PID in WORLD_PID, and copies of what is in the folder $WORLD_FILES in /opt/world.
set -euo pipefail

# Folders whose contents are the world's own. /etc and the folder of PAM modules are copies.
own=(run var home root opt tmp usr/local)
here=$(cd "$(dirname "$0")" && pwd)

die() { echo "world: $*" >&2; exit 1; }

outside() {
    [ "$(id -u)" = 0 ] || die "making namespaces and setuid programs needs root: sudo $0 $*"
    [ $# -ge 1 ] || die "usage: world.sh BIN [COMMAND...]"
    for file in pam_jit.so jit-agentd jit; do
        [ -e "$1/$file" ] || die "$1/$file is missing; 'make build' makes it"
    done
    local tool
    for tool in unshare nsenter setpriv ip sudo su login sshd ssh-keygen rsyslogd chpasswd; do
        PATH=$PATH:/usr/sbin:/sbin command -v "$tool" >/dev/null ||
            die "$tool is missing; 'make deps' installs what the world runs"
    done
    if grep -q '^NoNewPrivs:[[:space:]]*1' /proc/self/status; then
        die "this process may gain no privileges (no_new_privs), so sudo cannot work in it"
    fi
    local why
    why=$(unshare --mount --pid --fork --net --uts --ipc true 2>&1) ||
        die "no namespaces may be made here ($why). In a container: docker run --privileged, or" \
            "--cap-add SYS_ADMIN --cap-add NET_ADMIN with seccomp and apparmor unconfined"
    local bin
    bin=$(cd "$1" && pwd)
    shift
    export WORLD_INSIDE=1
    exec unshare --mount --pid --fork --kill-child --net --uts --ipc bash "$here/world.sh" "$bin" "$@"
}

# Where libpam looks for modules.
security_folder() {
    local dir
    for dir in "/usr/lib/$(uname -m)-linux-gnu" "/lib/$(uname -m)-linux-gnu" /usr/lib64 /usr/lib /lib; do
        if [ -e "$dir/security/pam_permit.so" ]; then
            realpath "$dir/security"
            return
        fi
    done
    die "libpam's folder of modules was not found (pam_permit.so is in none of the usual places)"
}

# 1. Mounts. The tmpfs is made under /dev/shm because the programs to copy may be anywhere else.
lay_out() {
    local w=/dev/shm security dir node
    security=$(security_folder)
    mount -t tmpfs -o mode=0755,suid,dev,exec world "$w" || die "no tmpfs can be mounted here"
    mkdir -p "$w"/{etc,security,dev,run,var,home,root,opt,tmp,usr/local}
    chmod 0700 "$w/root"
    chmod 1777 "$w/tmp"

    cp -a /etc/. "$w/etc"
    cp -a "$security/." "$w/security"
    cp -r "$here/etc/." "$w/etc"
    install -m 0644 "$bin/pam_jit.so" "$w/security/pam_jit.so"
    mkdir -p "$w"/usr/local/{bin,sbin} "$w/opt/sudo-rs/bin" "$w/opt/world"
    install -m 0755 "$bin/jit" "$w/usr/local/bin/jit"
    install -m 0755 "$bin/jit-agentd" "$here/agentctl" "$w/usr/local/sbin/"
    if [ -e "${SUDO_RS:=/opt/sudo-rs}/bin/sudo" ]; then
        install -m 4755 -t "$w/opt/sudo-rs/bin" "$SUDO_RS"/bin/{sudo,su}
        ln -s sudo "$w/opt/sudo-rs/bin/sudoedit"
    fi
    if [ -n "${WORLD_FILES:-}" ]; then
        cp -r "$WORLD_FILES/." "$w/opt/world"
    fi

    # A /dev of its own, so that /dev/log is ours and the terminals are too.
    for node in null zero full random urandom tty; do
        : >"$w/dev/$node"
        mount --bind "/dev/$node" "$w/dev/$node"
    done
    # A /dev/tty of its own where one can be made: while sudo-rs asks, it locks that file, and with
    # it every other sudo-rs that has something to ask, whatever its terminal.
    if mknod -m 0666 "$w/dev/tty.new" c 5 0 2>/dev/null; then
        umount "$w/dev/tty"
        mv "$w/dev/tty.new" "$w/dev/tty"
    fi
    mkdir "$w"/dev/{pts,shm}
    chmod 1777 "$w/dev/shm"
    mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts "$w/dev/pts"
    ln -s pts/ptmx "$w/dev/ptmx"
    ln -s /proc/self/fd "$w/dev/fd"
    for node in 0:stdin 1:stdout 2:stderr; do
        ln -s "/proc/self/fd/${node%:*}" "$w/dev/${node#*:}"
    done

    cd /
    mount --bind "$w/etc" /etc
    mount --bind "$w/security" "$security"
    for dir in "${own[@]}"; do
        mount --bind "$w/$dir" "/$dir"
    done
    mount --rbind "$w/dev" /dev
    mount -t proc -o nosuid,nodev,noexec proc /proc ||
        die "/proc cannot be mounted here (a container that hides parts of it?)"
    mkdir -p /var/{log,lib,mail,spool/rsyslog,tmp,cache} /run/{lock,sshd,sudo}
    chmod 1777 /var/tmp /run/lock
    : >/var/log/lastlog
    ln -s /run /var/run
    ip link set lo up
    ip address add 10.8.0.7/32 dev lo
    ip address add 192.0.2.7/32 dev lo
}

# 2. People. The machine's own people stay outside.
people() {
    local name uid=2001 file
    sed -i -E '/^(alice|bob|carol|mallory|postgres|dba):/d' /etc/{passwd,shadow,group,gshadow}
    awk -F: '$3 < 1000 || $1 == "nobody"' /etc/passwd >/etc/passwd.new
    awk -F: 'NR == FNR { keep[$1]; next } $1 in keep' /etc/passwd /etc/shadow >/etc/shadow.new
    for file in passwd shadow; do
        cat "/etc/$file.new" >"/etc/$file"
        rm "/etc/$file.new"
    done
    for name in alice bob carol mallory; do
        echo "$name:x:$uid:$uid::/home/$name:/bin/bash" >>/etc/passwd
        echo "$name:x:$uid:" >>/etc/group
        echo "$name:!:20000:0:99999:7:::" >>/etc/shadow
        install -d -m 0700 -o $uid -g $uid "/home/$name" "/home/$name/.ssh"
        uid=$((uid + 1))
    done
    echo "postgres:x:890:890::/var/lib/postgresql:/bin/bash" >>/etc/passwd
    echo "postgres:!:20000:0:99999:7:::" >>/etc/shadow
    echo "postgres:x:890:" >>/etc/group
    echo "dba:x:891:bob" >>/etc/group
    install -d -m 0700 -o 890 -g 890 /var/lib/postgresql
    # Cheap hashes: the cost of a password is not what these worlds are about.
    printf '%s-password\n' root alice bob carol mallory postgres |
        sed -E 's/^([a-z]+)-/\1:&/' | chpasswd -c SHA512 -s 1000

    ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key <<<y >/dev/null
    for name in alice bob; do
        ssh-keygen -q -t ed25519 -N '' -C "$name" -f "/home/$name/.ssh/id_ed25519"
        cp "/home/$name/.ssh/id_ed25519.pub" "/home/$name/.ssh/authorized_keys"
        chown -R "$name:$name" "/home/$name/.ssh"
    done
    rm -rf /etc/sudoers.d /etc/sudoers-rs /etc/ssh/sshd_config.d /etc/ssh/ssh_config.d /etc/nologin
    mkdir -m 0750 /etc/sudoers.d
    chmod 0440 /etc/sudoers
}

# 3. PAM. The services' own files get our lines where an installation puts them:
#  auth     after the password: a wrong password ends the stack there, so it costs no code;
#  account  before the rest: pam_unix ends the stack (`new_authtok_reqd=done`) for a password that
#           has expired, and sudo runs the command for that answer;
#  session  last: the login id is set by then, and what we refuse was only prepared.
# su-l includes su, so it has our lines through it.
pam() {
    local file
    sed -i '/pam_jit/d' /etc/pam.d/*
    for file in sudo sudo-i su sshd login; do
        sed -i -E \
            -e '/^@include[[:space:]]+common-auth/a auth       required   pam_jit.so' \
            -e '/^@include[[:space:]]+common-account/i account    required   pam_jit.so' \
            -e '/^@include[[:space:]]+common-session/a session    required   pam_jit.so' \
            "/etc/pam.d/$file"
        [ "$(grep -c pam_jit.so "/etc/pam.d/$file")" = 3 ] ||
            die "/etc/pam.d/$file does not include common-auth, -account and -session: not Debian's"
    done
}

# 4. Services.
services() {
    /usr/sbin/rsyslogd -f /etc/rsyslog.conf -i /run/rsyslogd.pid
    [ -S /dev/log ] || die "rsyslogd did not make /dev/log; see /var/log/syslog in the world"
    /usr/sbin/sshd
    agentctl start
}

inside() {
    export LC_ALL=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
    export HOME=/root USER=root LOGNAME=root SHELL=/bin/bash
    unset WORLD_INSIDE SUDO_COMMAND SUDO_USER SUDO_UID SUDO_GID
    bin=$1
    shift
    # Before /proc is our own it tells the number by which the machine knows this process.
    local outer
    read -r outer _ </proc/self/stat
    hostname web1
    umask 022
    lay_out
    people
    pam
    services
    unset SUDO_RS WORLD_FILES
    export WORLD_PID=$outer
    if [ $# -gt 0 ]; then
        cd /root
        # Not exec: as process 1 of the world this shell has to reap orphans.
        "$@"
        exit
    fi
    echo "ready $outer"
    read -r _ || true
}

if [ -z "${WORLD_INSIDE:-}" ]; then outside "$@"; else inside "$@"; fi
