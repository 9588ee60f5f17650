# What vagrant/README.md walks a tester through. Each step there is one here.
chapter "The tour: fifteen minutes of it"

step "Denied: sudoers and the password say yes, no grant does"
sit_down alice
type alice "sudo id"
check "sudo refuses" {$status != 0}
shows "pam_jit: no active grant"
shows_not uid=0
check "no code asked for, as none would help" {"code" ni $asked}
sit_down bob
type bob "sudo id"
check "NOPASSWD is no way round" {$status != 0 && $asked eq ""}
shows "pam_jit: no active grant"

step "Granted, with a code"
set grant [grant alice "--service sudo --for 15m"]
type alice "sudo id"
shows uid=0(root) $grant
check "password and code were asked for" {$asked eq "password code"}
type alice "sudo whoami"
check "no question the second time" {$asked eq "" && $last_shown eq "root"}

step "A wrong code opens nothing, in a login of her own"
sit_down alice@2
type alice@2 "sudo id" -code 000000
check "sudo refuses" {$status != 0 && "code" in $asked}
shows_not uid=0
get_up alice@2

step "What she holds, and for whom"
type alice "jit status"
shows $grant
type alice "sudo -u bob id"
check "sudo refuses another target" {$status != 0}
shows run_as

step "Expired: it ends when it says"
set end [expr {[machine_time] + 45}]
grant bob "--service sudo --for 45s"
type bob "sudo id"
shows uid=0(root)
check "only a code was asked for" {$asked eq "code"}
wait_until [expr {$end + 2}]
type bob "sudo id"
check "sudo refuses" {$status != 0}
shows expired

step "Observe mode: everything recorded, nothing refused"
must "cp /etc/pam_jit/agent.toml /root/agent.toml"
admin "printf '\[service.sudo]\\nmode = \"observe\"\\ngrant = true\\nmfa = \"15m\"\\n' >>/etc/pam_jit/agent.toml"
within 120 "mode observe" {[string match {*"mode":*"observe"*} [root "jit check bob --service sudo --json"]]}
type bob "sudo id"
shows uid=0(root)
check "nothing was asked" {$asked eq ""}
admin "jit audit show --user bob --event decision -n 2"
shows would=deny
must "cat /root/agent.toml >/etc/pam_jit/agent.toml"
within 120 "mode enforce" {[string match {*"mode":*"enforce"*} [root "jit check bob --service sudo --json"]]}

step "The agent stopped: a quick no, and a way in for who looks after the machine"
admin "systemctl stop jit-agentd"
timed alice "sudo id"
check "sudo refuses" {$status != 0}
shows_not uid=0
check "a no within 10 s" {$took < 10}
puts "   keeper\$ sudo id"
set last_shown [exec {*}[ssh_command machine sudo -n id]]
shows uid=0(root)
admin "systemctl start jit-agentd"
type alice "sudo id"
shows uid=0(root)
check "a new agent remembers no proof" {"code" in $asked}
revoke $grant
type alice "sudo id"
check "sudo refuses what was taken back" {$status != 0}

step "A central source: signed grants, and a bundle that was tampered with"
must {
    install -d -m 700 /root/central && cd /root/central && rm -rf *
    cat >grants.toml <<END
[[grant]]
id        = "on-call"
user      = "bob"
services  = ["sudo"]
not_after = $(date -u -d '+1 hour' +%FT%TZ)
END
    key=$(jit policy keygen --out key --json | grep -o 'ed25519:[^"]*')
    cat /root/agent.toml >agent.toml
    # Keys of [agent] go under it; the file begins with it.
    sed -i "0,/^\[agent\]/s//[agent]\nhost = \"$(hostname)\"\nlocal_grants = true/" agent.toml
    cat >>agent.toml <<END

[policy]
realm        = "tour"
url          = "file:///etc/pam_jit/bundle.json"
trusted_keys = ["$key"]
refresh      = "5s"
END
}
admin "cd /root/central && jit policy sign --key key --realm tour -o /etc/pam_jit/bundle.json grants.toml"
must "cat /root/central/agent.toml >/etc/pam_jit/agent.toml; systemctl restart jit-agentd"
within 120 "the central grant" {[string match *central:on-call* [root "jit grant list"]]}
type bob "sudo id"
shows uid=0(root) on-call
admin "sed -i 's/bob/eve/' /etc/pam_jit/bundle.json"
within 120 "a rejected bundle" {[string match *reason=signature* [set last_shown [root "jit audit show --event policy"]]] ||
    [string match *reason=hash* $last_shown]}
say $last_shown
type bob "sudo id"
shows uid=0(root)
must "rm /etc/pam_jit/bundle.json; cat /root/agent.toml >/etc/pam_jit/agent.toml; systemctl restart jit-agentd"
within 120 "no central grant" {![string match *on-call* [root "jit grant list"]]}

step "Reading the audit, and proving that nobody edited it"
admin "jit audit show -n 5"
admin "jit audit verify"
admin "jit audit verify --against /var/log/auth.log"
must "rm -rf /root/copy && cp -r /var/lib/pam_jit/audit /root/copy && sed -i 's/no_grant/granted/' /root/copy/*.jsonl"
puts "   root# jit audit verify --dir /root/copy     (a copy, edited)"
root "jit audit verify --dir /root/copy"
say $last_shown
check "the edit found" {$status == 1}
