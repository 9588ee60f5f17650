#!/bin/bash
# The life of the Debian package on one machine, up to a reboot.
. /opt/test/inside/common.sh
export DEBIAN_FRONTEND=noninteractive

useradd -m -s /bin/bash alice
echo 'alice ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/alice
pam_files >/root/pam-before
unchanged() { pam_files | diff /root/pam-before - >&2 || fail "$1: a PAM file was changed"; }

say "installed: the agent runs, no PAM file is changed, sudo is as it was"
dpkg -i "$old" >/tmp/dpkg 2>&1 || fail "cannot install: $(cat /tmp/dpkg)"
if grep -q pam_jit: /tmp/dpkg; then fail "to install it complains: $(cat /tmp/dpkg)"; fi
runs installed
systemctl --quiet is-enabled jit-agentd || fail "not enabled"
jit clock show >/dev/null || fail "jit and agent do not understand each other"
# What the agent asks the kernel (glibc by one or the other number), asked as confined as the agent.
sed -e 's/^Type=.*/Type=oneshot/' -e '/^Restart=/d' -e '/^WatchdogSec=/d' -e 's/=pam_jit$/=probe/' \
    -e 's|^ExecStart=.*|ExecStart=/usr/bin/perl -e "$$b = chr(0) x 208; exit !(syscall(159, $$b) >= 0 \&\& syscall(305, 0, $$b) >= 0)"|' \
    /usr/lib/systemd/system/jit-agentd.service >/run/systemd/system/probe.service
if [ "$(uname -m)" = x86_64 ]; then
    systemctl start probe || fail "the agent cannot ask whether the clock is synchronised"
fi
unchanged installed
passes "no line of ours"
[ "$(stat -c '%a %U' /var/lib/pam_jit /run/pam_jit | tr '\n' ' ')" = '700 root 755 root ' ] || fail "modes of the folders"
systemd-analyze verify jit-agentd.service 2>&1 | grep -v "man" | grep . && fail "systemd finds fault with the unit"
systemd-analyze security jit-agentd.service | tail -n 1
[ "$(grep CapEff "/proc/$(agent)/status" | cut -f2)" = 0000000000080000 ] || fail "the agent has other powers than CAP_SYS_PTRACE"

say "installed twice: nothing happens"
dpkg -i "$old" >/dev/null 2>&1
runs twice
unchanged twice

# `jit check` says no as well, by its exit status.
what_if() { jit check alice --service sudo --json || true; }
taken() {
    local _
    for _ in $(seq 40); do
        if what_if | grep -q "\"mode\":\"$1\""; then return; fi
        sleep 0.25
    done
    fail "the change is not taken: $(what_if)"
}

say "the configuration is taken without a restart"
pid=$(agent)
printf '[service.sudo]\nmode = "observe"\ngrant = true\nmfa = "none"\n' >>/etc/pam_jit/agent.toml
taken observe
sed -i s/observe\"/enforce\"/ /etc/pam_jit/agent.toml
taken enforce
[ "$pid" = "$(agent)" ] || fail "the agent was restarted"

say "the gate: closed, then open by grant"
enforce pam_jit.so
is_refused "no grant" "no active grant"
jit grant add --user alice --service sudo --for 2h --id standing >/dev/null
passes "granted"

say "confined, it still does its work: callers behind hidepid, bundles by https, name service"
# systemd gives it a /proc of its own, which on a kernel before 5.8 would hide what the host's hides.
with_drop_in 'ProtectProc=ptraceable'
passes hidepid
without_drop_in
cd /root
openssl req -x509 -newkey ed25519 -nodes -days 2 -keyout ca.key -out ca.pem -subj /CN=test-ca 2>/dev/null
openssl req -newkey ed25519 -nodes -keyout tls.key -subj /CN=policy.test -out tls.csr 2>/dev/null
openssl x509 -req -in tls.csr -CA ca.pem -CAkey ca.key -days 2 -out tls.pem \
    -extfile <(echo subjectAltName=DNS:policy.test) 2>/dev/null
echo '127.0.0.1 policy.test' >>/etc/hosts
install -m 644 ca.pem /etc/pam_jit/ca.pem
key=$(jit policy keygen --out policy.key | grep -o 'ed25519:[^" ]*' | head -n 1)
mkdir -p www
sed -e 's/2020-/2100-/g' /usr/share/doc/pam-jit/examples/grants.toml >grants.toml
jit policy sign --key policy.key --realm prod --expires 24h -o www/bundle.json grants.toml >/tmp/said 2>&1 || fail "cannot sign: $(cat /tmp/said)"
(cd www && exec openssl s_server -quiet -accept 8443 -cert ../tls.pem -key ../tls.key -WWW >/dev/null 2>&1) &
cp /etc/pam_jit/agent.toml agent.toml
cat >>/etc/pam_jit/agent.toml <<C
[agent]
host = "web1"
local_grants = true
[policy]
realm = "prod"
url = "https://policy.test:8443/bundle.json"
trusted_keys = ["$key"]
ca_file = "/etc/pam_jit/ca.pem"
C
for _ in $(seq 40); do
    jit policy refresh >/tmp/said 2>&1 && break
    sleep 0.25
done
jit policy refresh >/tmp/said 2>&1 || fail "no bundle by https: $(cat /tmp/said)"
kill %1
cp agent.toml /etc/pam_jit/agent.toml

say "upgraded under open sessions: they live, people are served, PAM files and settings stay"
alice setsid sudo -n sleep 1000 &
sleep 1
pgrep -x sleep >/dev/null || fail "no session to upgrade under"
pam_files >/root/pam-enforced
inode=$(stat -c %i /usr/lib/*/security/pam_jit.so)
(while sleep 0.02; do alice sudo -n true 2>&1 || true; done) >/tmp/during &
pid=$(agent)
dpkg -i "$new" >/tmp/dpkg 2>&1 || fail "cannot upgrade: $(cat /tmp/dpkg)"
kill $! && wait $! 2>/dev/null || true
runs upgraded
[ "$pid" != "$(agent)" ] || fail "the old agent runs on"
[ "$inode" != "$(stat -c %i /usr/lib/*/security/pam_jit.so)" ] || fail "the module was written in place"
pam_files | diff /root/pam-enforced - >&2 || fail "the upgrade changed a PAM file"
grep -q '^\[service.sudo\]' /etc/pam_jit/agent.toml || fail "the upgrade took the administrator's settings"
passes upgraded
pgrep -x sleep >/dev/null || fail "the upgrade ended a session"
# Whoever asked while the agent was restarted waited for the next one.
grep . /tmp/during && fail "the above was seen during the upgrade"
journalctl -q --no-pager | grep -iE 'unable to dlopen|module is unknown|pam_jit.*(panic|fault)' && fail "the module could not be loaded"

say "half an upgrade: new module, old agent"
dpkg --unpack "$old" >/dev/null 2>&1
passes "unpacked only"
dpkg --configure -a >/dev/null 2>&1
passes "downgraded"
[ "$(dpkg-query -W -f '${Version}' pam-jit)" = "$(dpkg-deb -f "$old" Version)" ] || fail "not downgraded"
runs downgraded

say "an agent that the administrator masked stays down through an upgrade, and that is said"
systemctl --quiet mask --now jit-agentd 2>/dev/null
dpkg -i "$new" >/tmp/dpkg 2>&1 || fail "cannot upgrade: $(cat /tmp/dpkg)"
rests masked
grep -q 'pam_jit: the agent does not run' /tmp/dpkg || fail "nobody was told: $(cat /tmp/dpkg)"
is_refused "masked" "the local agent does not answer"
sudo -n true || fail "root is refused while the agent is down"
systemctl --quiet unmask jit-agentd 2>/dev/null
systemctl start jit-agentd
passes unmasked

say "killed, it comes back, and who asked meanwhile is answered; hung, the watchdog ends it"
kill -KILL "$(agent)"
passes "killed a moment ago"
[ "$(agent)" != 0 ] || fail "killed, it does not come back"
runs killed
passes killed
with_drop_in 'WatchdogSec=3'
pid=$(agent)
kill -STOP "$pid"
is_refused hung "the local agent does not answer"
for _ in $(seq 60); do
    [ "$(agent)" = "$pid" ] || [ "$(agent)" = 0 ] || break
    sleep 0.5
done
[ "$(agent)" != "$pid" ] || fail "the watchdog let a hung agent be"
sleep 1
passes "after the watchdog"
without_drop_in

say "rsyslog: ours in a file of their own, nobody else's, also after it was rotated"
systemctl --quiet is-active rsyslog || fail "rsyslog does not run"
cp /usr/share/doc/pam-jit/examples/rsyslog.conf /etc/rsyslog.d/40-pam_jit.conf
systemctl restart rsyslog
passes rsyslog
sleep 1
[ ! -e /var/log/pam_jit.log ] || fail "rsyslog was not told to ask who writes, and splits all the same"
sed -i 's|^module(load="imuxsock".*|module(load="imuxsock" SysSock.Annotate="on" SysSock.ParseTrusted="on")|' /etc/rsyslog.conf
systemctl restart rsyslog
passes rsyslog
alice logger -t pam_jit 'event=decision outcome=allow user=forged'
sleep 1
grep -q 'event=decision outcome=allow .*user=alice' /var/log/pam_jit.log || fail "no line of ours in /var/log/pam_jit.log"
grep -q forged /var/log/pam_jit.log && fail "a forged line is among ours"
grep -qrs forged /var/log || fail "the forged line is nowhere"
[ "$(stat -c '%a %U %G' /var/log/pam_jit.log)" = '640 root adm' ] || fail "mode of /var/log/pam_jit.log"
logrotate -f /etc/logrotate.d/pam_jit
passes rotated
sleep 1
grep -q 'event=decision' /var/log/pam_jit.log || fail "nothing is written after the file was rotated"

say "removal stops where our lines cannot be taken out: nothing names a module that is gone"
mv /etc/pam.d/sudo /root/sudo-enforced
ln -s /root/sudo-enforced /etc/pam.d/sudo
if dpkg -r pam-jit >/tmp/dpkg 2>&1; then fail "removed under a line that names the module"; fi
grep -q '^ */etc/pam.d/sudo$' /tmp/dpkg || fail "the file is not named: $(cat /tmp/dpkg)"
ls /usr/lib/*/security/pam_jit.so >/dev/null || fail "the module is gone"
runs "a removal that stopped"
passes "a removal that stopped"
mv --no-target-directory /root/sudo-enforced /etc/pam.d/sudo

say "removed, by somebody whom it lets do it: our lines go first; settings and state stay"
alice sudo -n dpkg -r pam-jit >/tmp/dpkg 2>&1 || fail "cannot remove: $(cat /tmp/dpkg)"
unchanged removed
ls /usr/lib/*/security/pam_jit.so 2>/dev/null && fail "the module is still there"
pgrep -x jit-agentd && fail "the agent still runs"
passes removed
[ -e /etc/pam_jit/agent.toml ] && [ -d /var/lib/pam_jit/audit ] || fail "removal took what only purging takes"
[ ! -e /run/pam_jit ] || fail "/run/pam_jit stays"

say "installed again: the agent runs, the grants are there"
dpkg -i "$old" >/dev/null 2>&1
runs "installed again"
jit grant list | grep -q standing || fail "the grants are gone"

say "purged while enforced: nothing is left"
enforce pam_jit.so
passes "enforced again"
dpkg -P pam-jit >/tmp/dpkg 2>&1 || fail "cannot purge: $(cat /tmp/dpkg)"
unchanged purged
passes purged
find / -xdev \( -name '*pam_jit*' -o -name '*pam-jit*' -o -name '*jit-agentd*' \) \
    -not -path '/opt/test/*' -not -path '/proc/*' -not -path '/sys/*' -not -path '/var/log/*' \
    -not -path /etc/rsyslog.d/40-pam_jit.conf -not -path '/tmp/*' | grep . && fail "the above is left"
rm /etc/rsyslog.d/40-pam_jit.conf

say "and installed once more, for the reboot"
dpkg -i "$old" >/dev/null 2>&1
runs "installed once more"
printf '[service.sudo]\nmode = "enforce"\ngrant = true\nmfa = "none"\n' >>/etc/pam_jit/agent.toml
enforce pam_jit.so
jit grant add --user alice --service sudo --for 2h --id standing >/dev/null
