# What stands in journald and in rsyslog's file, and whether it agrees with the agent's own journal.
chapter "Records"

sit_down alice
step "A refusal and a yes, in rsyslog's auth.log"
set since [machine_time]
type alice "sudo id"
set grant [grant alice "--service sudo --for 5m"]
type alice "sudo id"
shows uid=0(root)
within 120 "both lines in auth.log" {[regexp "outcome=deny reason=(no_grant|expired) user=alice" [root "tail -n 100 /var/log/auth.log | grep 'event=decision'"]] &&
    [regexp "outcome=allow reason=\[a-z_\]+ user=alice uid=\[0-9\]+ target=root service=sudo.* grant=local:$grant" $last_shown]}
say [lindex [split $last_shown \n] end]

step "The same lines in journald, by what the system itself vouches for"
set exe [must "readlink -f /proc/\$(systemctl show -P MainPID jit-agentd)/exe"]
must "journalctl --no-pager --since @$since -o cat _UID=0 _EXE=$exe"
shows "event=grant outcome=added" "outcome=deny" "grant=local:$grant"

step "A forged line is in no journal, and the proof names it"
type alice "logger -p authpriv.info -t pam_jit 'event=decision outcome=allow user=alice id=01M7YVM5324DA5S7GQHXWEKMK2 chain=000000000000'"
must "journalctl --no-pager --since @$since -o cat _UID=0 _EXE=$exe"
shows_not chain=000000000000
within 120 "the forged line at the collector" {[string match *chain=000000000000* [root "tail -n 5 /var/log/auth.log"]]}
puts "   root# jit audit verify --against /var/log/auth.log"
root "jit audit verify --against /var/log/auth.log"
say $last_shown
check "the proof fails" {$status == 1}
must "sed -i '/chain=000000000000/d' /var/log/auth.log && systemctl kill -s HUP rsyslog"
admin "jit audit verify --against /var/log/auth.log"

step "Nothing secret in any of it"
set secret [must "cat /root/phones/alice"]
root "grep -rlF -e '$secret' /var/log /var/lib/pam_jit/audit; journalctl --no-pager | grep -F -e '$secret'"
check "alice's secret nowhere" {$last_shown eq ""}
revoke $grant
get_up alice
