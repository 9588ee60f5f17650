# A grant's end is its end, whatever happens to the machine and its clock before.
chapter "Time"

# What a time server says to the kernel, and what a jump takes back.
proc synchronised {} { must "adjtimex --status 1 --maxerror 1000 --esterror 1000" }
proc set_clock {by} { must "date -s @\$((\$(date +%s) + $by))" }
proc is_allowed {who} { return [string match {*"decision":*"allow"*} [root "jit check $who --service sudo --json"]] }

root "command -v adjtimex"
if {$status != 0} {
    skip "The clock set" "adjtimex is not installed on this machine"
} else {
    synchronised
    # Seen by the agent, so that there is a time to be wrong about.
    within 30 "a synchronised clock" {[string match {*"synchronised":*true*} [root "jit clock show --json"]]}

    step "Set back after its end, a grant stays ended"
    sit_down bob
    set end [expr {[machine_time] + 30}]
    grant bob "--service sudo --for 30s"
    wait_until [expr {$end + 2}]
    type bob "sudo id"
    shows expired
    set_clock -600
    admin "jit clock show"
    type bob "sudo id"
    check "sudo refuses" {$status != 0}
    shows expired
    set_clock 600

    step "Set forward past its end, a grant does not hold; set right again, it does"
    set grant [grant bob "--service sudo --for 15m"]
    type bob "sudo id"
    shows uid=0(root)
    set_clock 3600
    type bob "sudo id"
    check "sudo refuses" {$status != 0}
    set_clock -3600
    synchronised
    within 60 "the grant holds again" {[is_allowed bob]}
    type bob "sudo id"
    shows uid=0(root)
    revoke $grant
    get_up bob
}

step "A reboot in the middle: the grant goes on, with a new code, and its end is the old one"
sit_down alice
set end [expr {[machine_time] + 240}]
set grant [grant alice "--service sudo --for 4m"]
type alice "sudo id"
shows uid=0(root)
reboot
check "the agent up with the machine" {[root "systemctl is-active jit-agentd"] eq "active"}
sit_down alice
type alice "sudo id"
shows uid=0(root) $grant
check "a code again: what was proved is forgotten" {"code" in $asked}
check "all of it before the grant's end" {[machine_time] < $end}
wait_until [expr {$end + 2}]
type alice "sudo id"
check "sudo refuses" {$status != 0}
shows expired
get_up alice
