# From a fresh Debian to a machine that asks for grants. The other chapters go on from here.
chapter "Install"
if {![info exists env(DEB)]} { fail "the path of a package in DEB" }

proc pam_files {} { return [must "cd /etc/pam.d && sha256sum *"] }
proc to_machine {file as} { exec {*}[ssh_command machine "cat >$as"] <$file }

step "The package changes no PAM file, and its agent runs"
to_machine $here/../../vagrant/provision.sh /var/tmp/provision.sh
to_machine $env(DEB) /var/tmp/pam-jit.deb
set before [pam_files]
must "bash /var/tmp/provision.sh install /var/tmp/pam-jit.deb"
check "every file in /etc/pam.d as before" {[pam_files] eq $before}
within 120 "an active agent" {[root "systemctl is-active jit-agentd"] eq "active"}
check "an agent that starts at boot" {[root "systemctl is-enabled jit-agentd"] eq "enabled"}
must "jit clock show"

step "Two people with telephones; until it is enabled, sudo is what it was"
must "bash /var/tmp/provision.sh people"
sit_down alice
type alice "sudo id"
shows uid=0(root)
check "only her password was asked for" {$asked eq "password"}
get_up alice

step "Enabling says first what it would do"
admin "jit pam enable --dry-run --rescue [keeper] sudo"
shows "pam_jit.so"
check "every file in /etc/pam.d as before" {[pam_files] eq $before}

step "Enabled: sudo, su, sshd and login carry our lines, in their own files only"
must "bash /var/tmp/provision.sh enable"
must "jit pam status"
foreach service {sudo su sshd login} {
    must "grep -c '^account.*pam_jit.so' /etc/pam.d/$service"
}
root "grep -l pam_jit /etc/pam.d/common-*"
check "common-* untouched" {$status != 0}

step "To enable twice is to enable once"
set enabled [pam_files]
must "bash /var/tmp/provision.sh enable"
check "every file as after the first time" {[pam_files] eq $enabled}
