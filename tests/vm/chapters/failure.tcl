# The agent gone or hung: a no for people within the deadline, and root at the console gets in.
chapter "Failure"

proc refused_within {seconds} {
    if {$::status == 0} { fail "sudo refused" }
    shows_not uid=0
    if {$::took > $seconds} { fail "an answer within $seconds s; it took $::took" }
}

proc nobody_but_root {} {
    # The module waits 2 s; the rest is for a slow core to start sudo and end it.
    timed bob "sudo -n id"
    refused_within 15
    # sudo asks for her password three times, and PAM takes two seconds or so after each.
    timed alice "sudo id"
    refused_within 45
    if {[has_console]} {
        if {![sit_down root console]} { fail "root in, on the console" }
        type root "id -u"
        if {$::last_shown ne "0"} { fail "root" }
        get_up root
        if {[sit_down alice@console console]} { fail "alice refused, on the console" }
    }
    puts "   keeper\$ sudo id      (by a new ssh login)"
    set ::last_shown [exec {*}[ssh_command machine sudo -n id]]
    shows uid=0(root)
}

# Whether there is an agent that answers, and it is not the one with that pid.
proc answers_besides {pid} {
    if {[root "systemctl show -P MainPID jit-agentd"] in [list 0 $pid]} { return 0 }
    root "jit clock show"
    return [expr {$::status == 0}]
}

# Ends the agent that runs, and waits till another one serves people.
proc replaced_after {how} {
    set pid [must "systemctl show -P MainPID jit-agentd"]
    admin "systemctl kill -s $how jit-agentd"
    within 300 "another agent" {[answers_besides $pid]}
    type alice "sudo id"
    shows uid=0(root)
}

sit_down alice
sit_down bob
set a [grant alice "--service sudo --for 15m"]
set b [grant bob "--service sudo --for 15m --mfa none"]

step "Stopped and masked: sudo says no at once, root gets in"
admin "systemctl mask --now jit-agentd"
nobody_but_root
admin "systemctl unmask jit-agentd && systemctl start jit-agentd"
type alice "sudo id"
shows uid=0(root)

step "Masked over a reboot: the machine comes up, and root gets in"
get_up alice
get_up bob
admin "systemctl mask --now jit-agentd"
reboot
check "no agent" {[root "systemctl is-active jit-agentd"] ne "active"}
check "alice refused by ssh" {![sit_down alice]}
if {[has_console]} {
    check "root in, on the console" {[sit_down root console]}
    type root "systemctl unmask jit-agentd && systemctl start jit-agentd"
    check "done" {$status == 0}
    get_up root
} else {
    admin "systemctl unmask jit-agentd && systemctl start jit-agentd"
}
check "alice in again" {[sit_down alice]}
check "bob in again" {[sit_down bob]}

step "Frozen: the deadline holds"
# Without the watchdog that would end it in the middle of this.
set dropin /run/systemd/system/jit-agentd.service.d
must "mkdir -p $dropin && printf '\[Service]\nWatchdogSec=0\n' >$dropin/frozen.conf"
must "systemctl daemon-reload && systemctl restart jit-agentd"
admin "systemctl kill -s STOP jit-agentd"
nobody_but_root
admin "systemctl kill -s CONT jit-agentd"
type alice "sudo id"
shows uid=0(root)

step "Frozen for long: its watchdog ends it, and systemd starts another"
must "rm -r $dropin && systemctl daemon-reload && systemctl restart jit-agentd"
replaced_after STOP

step "Killed: systemd starts another"
replaced_after KILL
revoke $a
revoke $b
get_up alice
get_up bob
