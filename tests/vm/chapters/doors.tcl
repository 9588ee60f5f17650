# Every way in and up that a person has, on a machine that asks for grants.
chapter "Doors"

# Runs sudo and its kin as alice with a grant, and without.
proc with_and_without {command services expected} {
    type alice $command -password $::door_password
    if {$::status == 0} { fail "'$command' refused without a grant" }
    shows "no active grant"
    shows_not $expected
    set grant [grant alice "$services --for 10m"]
    type alice $command -password $::door_password
    shows $expected
    if {$::status != 0} { fail "'$command' done with a grant" }
    revoke $grant
    type alice $command -password $::door_password
    if {$::status == 0} { fail "'$command' refused after the grant was taken back" }
    shows "no active grant"
    shows_not $expected
}

step "By ssh with a key, and with a password: sshd asks for no grant unless it is told to"
check "alice in by key" {[sit_down alice key]}
check "nothing asked" {$asked eq ""}
get_up alice
check "alice in by password" {[sit_down alice password]}
check "her password asked, and no code" {$asked eq "password"}
check "bob in by key" {[sit_down bob key]}
get_up bob
check "a wrong password refused" {![sit_down bob password nonsense]}
must "jit audit show --user alice --event decision -n 20"
shows service=sshd "decision  allow"

if {[has_console]} {
    step "On the console: alice and root"
    check "alice in" {[sit_down alice@console console]}
    type alice@console "tty"
    shows ttyS0
    get_up alice@console
    check "root in" {[sit_down root console]}
    type root "id -u"
    check "root" {$last_shown eq "0"}
    get_up root
    check "a wrong password refused" {![sit_down bob@console console nonsense]}
    must "jit audit show --user alice --event decision -n 20"
    shows service=login "decision  allow"
} else {
    skip "On the console: alice and root" "this machine's console cannot be reached"
}

set door_password alice-password
step "sudo, for a command and for a shell"
with_and_without "sudo id" "--service sudo" "uid=0(root)"
with_and_without "sudo -i id" "--service sudo" "uid=0(root)"

step "sudo for another, by name"
with_and_without "sudo -u bob id" "--service sudo --run-as bob" "(bob)"

step "su, and su -"
set door_password root-password
with_and_without "su -c id" "--service su" "uid=0(root)"
with_and_without "su - -c id" "--service su" "uid=0(root)"

set sudo_rs [root "ls /usr/lib/cargo/bin/sudo /usr/bin/sudo-rs 2>/dev/null | head -n 1"]
if {$sudo_rs ne ""} {
    step "sudo-rs ($sudo_rs)"
    set door_password alice-password
    with_and_without "$sudo_rs id" "--service sudo" "uid=0(root)"
} else {
    skip "sudo-rs" "this machine has none"
}
get_up alice
