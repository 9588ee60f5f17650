#!/usr/bin/env bash
# A shell for root in a world, with what a person needs to play: run by `make sandbox`.
set -euo pipefail

phone=/usr/local/bin/phone
enrolled=$(jit mfa enroll alice --json)
secret=$(sed -nE 's/.*"secret": ?"([A-Z2-7]+)".*/\1/p' <<<"$enrolled" | head -n 1)
[ -n "$secret" ] || { echo "sandbox: no secret in what 'jit mfa enroll alice --json' said" >&2; exit 1; }

# What alice's authenticator app shows, for whoever asks: nothing in a sandbox is secret.
cat >$phone <<END
#!/bin/sh
exec oathtool --totp --base32 $secret
END
chmod 755 $phone

cat >/usr/local/bin/alice <<'END'
#!/bin/sh
exec ssh -i /home/alice/.ssh/id_ed25519 alice@localhost
END
chmod 755 /usr/local/bin/alice

cat >/root/hints <<END

  You are root on web1, a machine inside yours, with the real sudo, su, login, sshd and rsyslogd.
  Nothing you do here reaches yours, and all of it is gone when you leave (exit).

    alice          be alice, by ssh; back with exit. Her password: alice-password
    phone          the code her authenticator app shows (a code works once; the next in 30 s)
    jit --help     what you and she can ask for

  Try, as root:    jit grant add --user alice --service sudo --for 10m --reason 'to play'
  then, as alice:  sudo id            (password, then a code: 'phone' first, or in a second terminal)
  and then:        jit status · jit check --service sudo --run-as postgres · jit grant list
                   tail -f /var/log/auth.log · jit audit show · jit audit verify
  Also here:       bob, carol, mallory, postgres (USER-password) · /opt/sudo-rs/bin/sudo, if built
                   agentctl stop (then try sudo) · agentctl start · /etc/pam_jit/agent.toml

  A second terminal: sudo nsenter -t $WORLD_PID -m -p -n -u -i script -qc bash /dev/null
  These words again: cat hints

END
echo "PS1='[pam_jit sandbox] \u@\h:\w\\$ '; cd; cat /root/hints" >/root/.sandboxrc
printf "PS1='[pam_jit sandbox] %s:%s\\$ '\n" '\u@\h' '\w' >/home/alice/.bashrc
printf '. ~/.bashrc\n' >/home/alice/.profile
rm -rf /etc/motd /etc/update-motd.d

# A terminal of the world's own: the one this was started from belongs to another devpts.
exec script -qec 'bash --rcfile /root/.sandboxrc -i' /dev/null
