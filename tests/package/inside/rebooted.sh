#!/bin/bash
# After a reboot in the middle of a grant.
. /opt/test/inside/common.sh

say "rebooted: the agent was up before anybody could log in, and the grant holds"
runs rebooted
at() { systemctl show -P "$2" "$1"; }
ready=$(at jit-agentd ActiveEnterTimestampMonotonic)
for unit in systemd-user-sessions.service getty.target; do
    [ "$ready" -le "$(at $unit ActiveEnterTimestampMonotonic)" ] || fail "$unit was up before the agent"
done
for _ in $(seq 40); do
    alice sudo -n true 2>/dev/null && break
    sleep 0.25
done
passes rebooted
dpkg -P pam-jit >/dev/null 2>&1
