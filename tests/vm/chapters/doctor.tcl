# What `jit doctor` says of a machine in order, and of one that somebody sabotaged.
chapter "Doctor"
source $here/sabotages.tcl

# The ids of everything it found, once each and sorted; `::status` is 1 if something is open.
proc findings {} {
    root "jit doctor --json"
    if {$::status > 1} { fail "a report" }
    set ids {}
    foreach {- id} [regexp -all -inline {"id": ?"([a-z0-9-]+)"} $::last_shown] { lappend ids $id }
    return [lsort -unique $ids]
}

step "A machine set up as it says is clean"
root "jit doctor"
say $last_shown
must {
    sed -i '/^PermitRootLogin/d; /^MaxSessions/d' /etc/ssh/sshd_config
    sed -i '1iPermitRootLogin no\nMaxSessions 1' /etc/ssh/sshd_config
    systemctl reload ssh
    if command -v adjtimex; then adjtimex --status 1 --maxerror 1000 --esterror 1000; fi
}
set clean [findings]
if {"sudo-rs-old" in $clean} {
    # Debian 13's is too old to gate sudoedit.
    must "dpkg -P sudo-rs"
    set clean [findings]
}
check "no finding" {$clean eq "" && $status == 0}
must {
    rm -rf /root/good && mkdir /root/good
    cp -a /etc/pam.d /etc/ssh/sshd_config /etc/pam_jit/agent.toml /root/good/
}

foreach {id damage mend} $sabotages {
    step "Sabotaged: $id"
    puts "   root# $damage"
    must $damage
    set found [findings]
    if {$id ni $found} { fail "the finding $id" }
    if {$found ne $id} { fail "no finding but $id; found: $found" }
    must $mend
    # The agent reads a changed configuration when it has been still for a moment.
    within 120 "no finding once it is mended" {[findings] eq ""}
}
