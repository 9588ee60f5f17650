# The life of the package after it was installed: again, newer, older, gone, back, and purged.
chapter "Package"

# The same package under another version.
proc repacked {version} {
    must "rm -rf /var/tmp/repack && dpkg-deb -R /var/tmp/pam-jit.deb /var/tmp/repack &&
        sed -i 's/^Version: .*/Version: $version/' /var/tmp/repack/DEBIAN/control &&
        dpkg-deb --root-owner-group -Zgzip -z1 -b /var/tmp/repack /var/tmp/repacked.deb &&
        rm -rf /var/tmp/repack"
}
proc installed {} { return [root "dpkg-query -W -f '\${Version}' $::package"] }
proc ours {} { return [root "grep -l pam_jit /etc/pam.d/*"] }

set package [must "dpkg-deb -f /var/tmp/pam-jit.deb Package"]
set version [must "dpkg-deb -f /var/tmp/pam-jit.deb Version"]
set enabled [ours]
check "services that are enabled" {$enabled ne ""}

sit_down alice
set grant [grant alice "--service sudo --for 30m"]

step "Installed twice"
must "dpkg -i /var/tmp/pam-jit.deb"
check "the same services enabled" {[ours] eq $enabled}
type alice "sudo id"
shows uid=0(root)

step "Upgraded while alice has a root shell open"
repacked 99.0-1
spawn -noecho {*}[ssh_command -tt -l alice machine "exec sudo -s"]
set shell $spawn_id
expect {
    -i $shell
    -re {password for alice: $} { send -i $shell "alice-password\r"; exp_continue }
    -re {[Cc]ode[a-z0-9 ]*: ?$} { send -i $shell "[phone alice]\r"; exp_continue }
    -re {# $} {}
    timeout { set last_shown $expect_out(buffer); fail "a root shell" }
    eof { set last_shown $expect_out(buffer); fail "a root shell" }
}
must "dpkg -i /var/tmp/repacked.deb"
check "the new version" {[installed] eq "99.0-1"}
check "the same services enabled" {[ours] eq $enabled}
check "the agent runs" {[root "systemctl is-active jit-agentd"] eq "active"}
send -i $shell "echo still-\$((40 + 2)); exit\r"
expect {
    -i $shell
    "still-42" {}
    timeout { fail "an open root shell that goes on" }
    eof { fail "an open root shell that goes on" }
}
catch { expect -i $shell eof }
catch { close -i $shell }
catch { wait -nowait -i $shell }
type alice "sudo id"
shows uid=0(root)
must "jit grant list"
shows $grant

step "Downgraded"
must "dpkg -i --force-downgrade /var/tmp/pam-jit.deb"
check "the old version" {[installed] eq $version}
check "the same services enabled" {[ours] eq $enabled}
type alice "sudo id"
shows uid=0(root)

step "One service disabled: it is as it was, the others go on"
revoke $grant
admin "jit pam disable su"
root "grep pam_jit /etc/pam.d/su /etc/pam.d/su-l"
check "su without us" {$last_shown eq ""}
type alice "su -c id" -password root-password
shows uid=0(root)
type alice "sudo id"
check "sudo refuses" {$status != 0}
admin "jit pam enable --rescue [keeper] su"

step "Removed: no PAM file names a module that is gone"
must "dpkg -r $package"
check "no file names us" {[ours] eq ""}
root "find / -xdev -name 'pam_jit.so'"
check "the module gone" {$last_shown eq ""}
type alice "sudo id"
shows uid=0(root)
check "no code asked for" {"code" ni $asked}
check "alice in by ssh" {[sit_down alice@2 password]}
get_up alice@2
if {[has_console]} {
    check "root in, on the console" {[sit_down root console]}
    get_up root
}
check "state kept" {[has /var/lib/pam_jit] && [has /etc/pam_jit/agent.toml]}

step "Back: people's telephones still count"
must "dpkg -i /var/tmp/pam-jit.deb"
check "nothing enabled by installing" {[ours] eq ""}
must "bash /var/tmp/provision.sh enable"
grant alice "--service sudo --for 5m"
type alice "sudo id"
shows uid=0(root)
check "a code asked for, and taken" {"code" in $asked}

step "Purged: nothing is left, and everything is as before"
must "dpkg -P $package"
check "no file names us" {[ours] eq ""}
root "ls -d /var/lib/pam_jit /etc/pam_jit /run/pam_jit"
check "no state, no configuration" {![regexp -line {^/} $last_shown]}
type alice "sudo id"
shows uid=0(root)
get_up alice
must "systemctl daemon-reload"
check "every unit in order, and none of ours" {[root "systemctl --failed --no-legend; systemctl list-unit-files --no-legend 'jit*'"] eq ""}
check "alice in by ssh" {[sit_down alice]}
get_up alice
if {[has_console]} {
    check "root in, on the console" {[sit_down root console]}
    get_up root
}
