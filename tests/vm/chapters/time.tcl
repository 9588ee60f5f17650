# A grant's end is its end, whatever happens to the machine and its clock before.
chapter "Time"

# What a time server says to the kernel, and what a jump and a reboot take back.
proc synchronised {} {
    must "adjtimex --status 1 --maxerror 1000 --esterror 1000"
    # Seen by the agent, so that there is a time to be wrong about.
    within 120 "a synchronised clock" {[string match {*"synchronised":*true*} [root "jit clock show --json"]]}
}
proc set_clock {by} { must "date -s @\$((\$(date +%s) + $by))" }
proc is_allowed {who} { return [string match {*"decision":*"allow"*} [root "jit check $who --service sudo --json"]] }

# When a grant ends, as the agent says.
proc grant_end {grant} {
    must "jit grant list --json"
    if {![regexp "$grant\"\[^\}\]*?\"not_after\": ?\"(\[^\"\]+)\"" $::last_shown - end]} { fail "the end of $grant" }
    return $end
}

step "A reboot in the middle: the grant goes on, with a new code, and its end is the old one"
sit_down alice
set grant [grant alice "--service sudo --for 30m"]
set end [grant_end $grant]
type alice "sudo id"
shows uid=0(root)
reboot
check "the agent up with the machine" {[root "systemctl is-active jit-agentd"] eq "active"}
sit_down alice
type alice "sudo id"
shows uid=0(root) $grant
check "a code again: what was proved is forgotten" {"code" in $asked}
check "the same end" {[grant_end $grant] eq $end}

root "command -v adjtimex"
if {$status != 0} {
    skip "The clock set" "adjtimex is not installed on this machine"
} else {
    step "Set forward past its end, a grant does not hold; set right again, it does"
    synchronised
    set_clock 3600
    type alice "sudo -k id"
    check "sudo refuses" {$status != 0}
    shows "no active grant" expired
    set_clock -3600
    synchronised
    within 120 "the grant holds again" {[is_allowed alice]}
    type alice "sudo id"
    shows uid=0(root)

    step "Set back after its end, a grant stays ended"
    sit_down bob
    set end [expr {[machine_time] + 10}]
    grant bob "--service sudo --for 10s"
    wait_until [expr {$end + 2}]
    type bob "sudo id"
    check "sudo refuses" {$status != 0}
    shows expired
    set_clock -600
    admin "jit clock show"
    type bob "sudo id"
    check "sudo refuses" {$status != 0}
    shows expired
    set_clock 600
    synchronised
    get_up bob
}
revoke $grant
get_up alice
