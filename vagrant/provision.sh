#!/usr/bin/env bash
# Makes a machine to try pam_jit on out of a fresh Debian. Run as root, on that machine:
#
#   provision.sh DEB                 all of it, as `vagrant up` does
#   provision.sh install|people|enable [DEB]     one part, as tests/vm does
#
# Not for a machine that you want to keep: its passwords are known to everybody.
set -euo pipefail

die() { echo "provision: $*" >&2; exit 1; }
[ "$(id -u)" = 0 ] || die "has to run as root"
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8

# The package. It changes no PAM file.
install_package() {
    local missing=()
    command -v oathtool >/dev/null || missing+=(oathtool)
    # Debian has come without it since 12; /var/log/auth.log is what a log collector would get.
    command -v rsyslogd >/dev/null || missing+=(rsyslog)
    if [ ${#missing[@]} -gt 0 ]; then
        apt-get update -q
        apt-get install -y -q "${missing[@]}"
    fi
    [ -e "$1" ] || die "no such package: $1"
    apt-get install -y -q --reinstall --allow-downgrades "$(realpath "$1")"
    # The login that looks after the machine keeps its sudo without asking for grants, as
    # `vagrant halt` needs it to.
    local config=/etc/pam_jit/agent.toml
    if [ -n "$keeper" ]; then
        touch $config
        grep -q '^\[agent\]' $config || printf '\n[agent]\n' >>$config
        sed -e '/^exempt_users/d' -e "s/^\[agent\]/&\nexempt_users = [\"root\", \"$keeper\"]/" $config >$config.new
        mv $config.new $config
    fi
}

# alice, whom sudo asks for her password, and bob, whom it does not; each with a telephone.
people() {
    local name
    for name in alice bob; do
        id "$name" >/dev/null 2>&1 || useradd --create-home --shell /bin/bash "$name"
        if [ -n "$keeper" ] && [ -e "/home/$keeper/.ssh/authorized_keys" ]; then
            install -d -m 700 -o "$name" -g "$name" "/home/$name/.ssh"
            install -m 600 -o "$name" -g "$name" "/home/$keeper/.ssh/authorized_keys" "/home/$name/.ssh/"
        fi
    done
    printf '%s-password\n' alice bob root | sed -E 's/^([a-z]+)-/\1:&/' | chpasswd
    (umask 227 && printf '%s\n' 'alice ALL=(ALL:ALL) ALL' 'bob ALL=(ALL:ALL) NOPASSWD: ALL' \
        >/etc/sudoers.d/people.new)
    visudo -q -c -f /etc/sudoers.d/people.new
    mv /etc/sudoers.d/people.new /etc/sudoers.d/people

    install -d -m 700 /root/phones
    cat >/usr/local/sbin/phone <<'END'
#!/usr/bin/env bash
# What the authenticator app on somebody's telephone shows: a code that was not shown before, at
# most half a minute early.
set -euo pipefail
phone=/root/phones/${1:?whose?}
read -r secret <"$phone"
spent=$(cat "$phone.spent" 2>/dev/null || echo 0)
while true; do
    now=$(($(date +%s) / 30))
    # A clock that was set back makes old steps new again; the app knows nothing of it.
    if [ "$spent" -gt $((now + 1)) ]; then spent=0; fi
    step=$((now > spent ? now : spent + 1))
    if [ $step -le $((now + 1)) ]; then break; fi
    sleep 0.5
done
echo $step >"$phone.spent"
oathtool --totp --base32 --now "@$((step * 30))" - <<<"$secret"
END
    chmod 755 /usr/local/sbin/phone
    for name in alice bob; do
        if [ ! -s "/root/phones/$name" ]; then
            (umask 077 && jit mfa enroll "$name" --json |
                sed -nE 's/.*"secret": ?"([A-Z2-7]+)".*/\1/p' >"/root/phones/$name")
            [ -s "/root/phones/$name" ] || die "'jit mfa enroll $name --json' gave no secret"
        fi
    done
}

enable() {
    # Where root's own password is known to nobody, this one has to get in when the agent cannot answer.
    jit pam enable ${keeper:+--rescue "$keeper"} sudo sudo-i su sshd login
}

hints() {
    cat <<END

  pam_jit is on. People here: alice and bob (passwords alice-password, bob-password, root-password).
  sudo asks alice for her password, and bob for none; neither holds a grant yet.
  You are $keeper, who may always: exempt from grants, and let in if the agent is dead.

    vagrant ssh                                   a terminal for root, after sudo -i
    vagrant ssh-config --host web1 >ssh_config
    ssh -F ssh_config alice@web1                  a terminal for alice
    alice$ sudo id                                no
    root#  jit grant add --user alice --service sudo --for 10m --reason 'to play'
    root#  phone alice                            what alice's telephone shows
    alice$ sudo id                                password, code: yes
    root#  jit audit show

  vagrant/README.md goes on from here, fifteen minutes of it.

END
}

# Who set the machine up, and goes on looking after it: vagrant, or whoever ran sudo.
keeper=${SUDO_USER:-}
if [ -z "$keeper" ] && id vagrant >/dev/null 2>&1; then keeper=vagrant; fi

case ${1:-} in
install) install_package "${2:?which package?}" ;;
people) people ;;
enable) enable ;;
*.deb)
    install_package "$1"
    people
    enable
    hints
    ;;
*) die "usage: provision.sh DEB | install DEB | people | enable" ;;
esac
