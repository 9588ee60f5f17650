# What somebody may do to a machine, the finding of `jit doctor` that has to come of it (docs/doctor.md),
# and how it is mended. Each is done, found with no other finding beside it, and mended in turn.
# What a mend has to bring back is in /root/good.
set sabotages {
    agent-down
        {systemctl stop jit-agentd}
        {systemctl start jit-agentd}
    config-broken
        {echo 'no such key = 1' >>/etc/pam_jit/agent.toml}
        {cat /root/good/agent.toml >/etc/pam_jit/agent.toml}
    config-untrusted
        {touch /etc/pam_jit/grants.d/x.toml && chmod 666 /etc/pam_jit/grants.d/x.toml}
        {rm /etc/pam_jit/grants.d/x.toml}
    clock-unsynchronised
        {adjtimex --status 64}
        {adjtimex --status 1 --maxerror 1000 --esterror 1000}
    pam-account-missing
        {sed -i '/^account.*pam_jit/d' /etc/pam.d/sudo}
        {cp -a /root/good/pam.d/sudo /etc/pam.d/sudo}
    pam-session-missing
        {sed -i '/^session.*pam_jit/d' /etc/pam.d/sudo}
        {cp -a /root/good/pam.d/sudo /etc/pam.d/sudo}
    pam-skipped
        {sed -i '0,/^account/s//account sufficient pam_unix.so\naccount/' /etc/pam.d/sudo}
        {cp -a /root/good/pam.d/sudo /etc/pam.d/sudo}
    pam-control
        {sed -i -E 's/^(account +)required( +pam_jit)/\1optional\2/' /etc/pam.d/sudo}
        {cp -a /root/good/pam.d/sudo /etc/pam.d/sudo}
    pam-broken
        {echo '@include not-there' >>/etc/pam.d/su}
        {cp -a /root/good/pam.d/su /etc/pam.d/su}
    pam-file-writable
        {chmod o+w /etc/pam.d/sshd}
        {chmod o-w /etc/pam.d/sshd}
    door-open
        {jit pam disable su}
        {cp -a /root/good/pam.d/su /etc/pam.d/su}
    root-shut-out
        {usermod -L root && sed -i 's/ rescue=[a-z]*//' /etc/pam.d/sudo}
        {usermod -U root && cp -a /root/good/pam.d/sudo /etc/pam.d/sudo}
    sudoers-pam-acct-mgmt
        {echo 'Defaults:alice !pam_acct_mgmt' >/etc/sudoers.d/zz}
        {rm /etc/sudoers.d/zz}
    sudoers-pam-session
        {echo 'Defaults !pam_session' >/etc/sudoers.d/zz}
        {rm /etc/sudoers.d/zz}
    sshd-usepam-no
        {sed -i '1iUsePAM no' /etc/ssh/sshd_config}
        {cp -a /root/good/sshd_config /etc/ssh/sshd_config}
    sshd-root-login
        {sed -i 's/^PermitRootLogin .*/PermitRootLogin yes/' /etc/ssh/sshd_config}
        {cp -a /root/good/sshd_config /etc/ssh/sshd_config}
    group-is-root
        {usermod -a -G disk bob}
        {gpasswd -d bob disk}
    uid0-twin
        {echo 'toor:x:0:0::/root:/bin/sh' >>/etc/passwd}
        {sed -i '/^toor:/d' /etc/passwd}
    setuid-unknown
        {cp /bin/bash /usr/local/bin/innocent && chmod 4755 /usr/local/bin/innocent}
        {rm /usr/local/bin/innocent}
}
