#!/bin/bash
# The RPM on a Debian that has rpm as well: what its scriptlets do, not what its requirements find.
. /opt/test/inside/common.sh
rpm_does() { rpm --nodeps "$@" >/tmp/rpm 2>&1; }
module=/usr/lib64/security/pam_jit.so
pam_files >/root/pam-before

say "rpm installed: the agent runs, no PAM file is changed"
rpm_does -i "$old_rpm" || fail "cannot install: $(cat /tmp/rpm)"
runs "rpm installed"
systemctl --quiet is-enabled jit-agentd || fail "not enabled"
pam_files | diff /root/pam-before - >&2 || fail "a PAM file was changed"
printf '[service.sudo]\nmode = "enforce"\ngrant = true\nmfa = "none"\n' >>/etc/pam_jit/agent.toml
systemctl reload jit-agentd
enforce $module
jit grant add --user alice --service sudo --for 2h --id standing >/dev/null
sleep 2
passes "rpm installed"

say "rpm upgraded: PAM files and settings stay, the agent is the new one"
pam_files >/root/pam-enforced
pid=$(agent)
rpm_does -U "$new_rpm" || fail "cannot upgrade: $(cat /tmp/rpm)"
runs "rpm upgraded"
[ "$pid" != "$(agent)" ] || fail "the old agent runs on"
pam_files | diff /root/pam-enforced - >&2 || fail "the upgrade changed a PAM file"
grep -q '^\[service.sudo\]' /etc/pam_jit/agent.toml || fail "the upgrade took the administrator's settings"
passes "rpm upgraded"

say "rpm: removal stops where our lines cannot be taken out"
mv /etc/pam.d/sudo /root/sudo-enforced
ln -s /root/sudo-enforced /etc/pam.d/sudo
if rpm_does -e pam-jit; then fail "removed under a line that names the module"; fi
grep -q '^ */etc/pam.d/sudo$' /tmp/rpm || fail "the file is not named: $(cat /tmp/rpm)"
[ -e $module ] || fail "the module is gone"
passes "a removal that stopped"
mv --no-target-directory /root/sudo-enforced /etc/pam.d/sudo

say "rpm removed: our lines go first; state stays"
rpm_does -e pam-jit || fail "cannot remove: $(cat /tmp/rpm)"
pam_files | diff /root/pam-before - >&2 || fail "our lines are still there"
[ ! -e $module ] || fail "the module is still there"
pgrep -x jit-agentd && fail "the agent still runs"
[ -d /var/lib/pam_jit ] || fail "removal took the state"
passes "rpm removed"
