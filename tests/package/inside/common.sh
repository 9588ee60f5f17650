# What the scenarios share. They run as root in the container; alice may do anything by sudo,
# without a password, and pam_jit is all that stands before it.
set -euo pipefail
old=$(ls /opt/test/packages/*.deb) new=$(ls /opt/test/later/*.deb)
old_rpm=$(ls /opt/test/packages/*.rpm) new_rpm=$(ls /opt/test/later/*.rpm)

say() { echo "--- $*"; }
fail() {
    echo "package test: $*" >&2
    journalctl -q -u jit-agentd -n 15 --no-pager >&2 || true
    exit 1
}
alice() { setpriv --reuid alice --regid alice --init-groups --reset-env "$@"; }
trap 'fail "$0, line $LINENO: $BASH_COMMAND"' ERR
passes() { alice sudo -n true >/tmp/said 2>&1 || fail "$1: alice is refused: $(cat /tmp/said)"; }
is_refused() {
    if alice sudo -n true >/tmp/said 2>&1; then fail "$1: alice is root"; fi
    grep -q "$2" /tmp/said || fail "$1: refused, but: $(cat /tmp/said)"
}
runs() { systemctl --quiet is-active jit-agentd || fail "$1: the agent does not run"; }
rests() { ! systemctl --quiet is-active jit-agentd || fail "$1: the agent runs"; }
agent() { systemctl show -P MainPID jit-agentd; }
pam_files() { (cd /etc/pam.d && sha256sum ./*); }

# One more line for the unit's [Service].
with_drop_in() {
    mkdir -p /run/systemd/system/jit-agentd.service.d
    printf '[Service]\n%s\n' "$1" >/run/systemd/system/jit-agentd.service.d/test.conf
    systemctl daemon-reload
    systemctl restart jit-agentd
}
without_drop_in() {
    rm -r /run/systemd/system/jit-agentd.service.d
    systemctl daemon-reload
    systemctl restart jit-agentd
}

# MODULE as libpam finds it, or a path.
enforce() {
    sed -i -e "/^@include common-auth/a auth required $1" -e "/^@include common-account/i account required $1" \
        -e "/^@include common-session/a session required $1" /etc/pam.d/sudo
    [ "$(grep -c pam_jit.so /etc/pam.d/sudo)" = 3 ] || fail "/etc/pam.d/sudo is not Debian's"
}
