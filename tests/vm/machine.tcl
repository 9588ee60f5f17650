# How the steps talk to a machine, whatever it runs on: by ssh as people and as root, and on its
# serial console if it has one that can be reached (VM_CONSOLE). See boot.sh for the variables.
#
# Everything has a limit in time; the first thing that is not as it has to be ends the run.

log_user 0
match_max 1000000
# A slow core may need a while for a login; nobody waits so long unless something is wrong.
set timeout 300
set stty_init "-echo rows 50 columns 200"
set env(TERM) dumb
fconfigure stdout -buffering line

set chapter ""
set step 0
set passed 0
set skipped 0
set last_shown ""

# --- What is said

proc chapter {title} {
    set ::chapter $title
    puts "\n=== $title"
}

proc step {title} {
    end_step
    incr ::step
    set ::step_title $title
    set ::step_start [clock milliseconds]
    puts "\n$::step. $title"
}

proc end_step {} {
    if {[info exists ::step_title]} {
        incr ::passed
        puts [format "   ok (%.1f s)" [expr {([clock milliseconds] - $::step_start) / 1000.0}]]
        unset ::step_title
    }
}

# A step that this machine cannot take; of those of `make test-vm` it is known which (VM_SKIPS).
proc skip {title why} {
    end_step
    if {[info exists ::env(VM_SKIPS)] && $title ni [split $::env(VM_SKIPS) ,]} { fail "a machine that can: $title" }
    incr ::step
    incr ::skipped
    puts "\n$::step. $title\n   skipped: $why"
}

proc say {text} {
    foreach line [split [string map {\r ""} [string trim $text]] \n] { puts "     $line" }
}

proc fail {expected} {
    set where [expr {[info exists ::step_title] ? "step $::step, '$::step_title'" : "the preparation after step $::step"}]
    puts "\nFAILED at $where ($::chapter)"
    puts "expected: $expected"
    puts "shown:"
    say $::last_shown
    # A fault while telling of one must not hide it.
    set ::timeout 30
    proc fail {why} { return -code error $why }
    puts "\nthe end of its logs:"
    catch { say [root "tail -n 25 /var/log/auth.log; journalctl --no-pager -n 25 -u jit-agentd"] } why
    if {[info exists ::env(VM_LOG)]} {
        puts "\nthe end of its console ($why):"
        catch { say [exec tail -n 25 $::env(VM_LOG)] }
    }
    puts "\n$::passed passed, 1 failed, $::skipped skipped"
    exit 1
}

# Fails unless the expression holds in the caller.
proc check {expected holds} {
    if {![uplevel 1 [list expr $holds]]} { fail $expected }
}

# Fails unless what was shown last contains every one of the words.
proc shows {args} {
    foreach words $args {
        if {[string first $words $::last_shown] < 0} { fail "the words '$words'" }
    }
}

proc shows_not {args} {
    foreach words $args {
        if {[string first $words $::last_shown] >= 0} { fail "not the words '$words'" }
    }
}

# Tries something until it holds in the caller. So patient, because the host may have other things to
# do: what has to be quick is timed by the machine's own clock (see `timed`).
proc within {seconds expected holds} {
    set end [expr {[clock seconds] + $seconds}]
    while {![uplevel 1 [list expr $holds]]} {
        if {[clock seconds] > $end} { fail "$expected, within $seconds s" }
        after 300
    }
}

# --- Root: the one who set the machine up, with a shell that is open all the time

proc ssh_command {args} { return [list ssh -F $::env(VM_SSH) {*}$args] }

proc root_connect {} {
    set ::stty_init_people $::stty_init
    set ::stty_init "raw -echo"
    spawn -noecho {*}[ssh_command -T machine "exec sudo -n bash"]
    set ::stty_init $::stty_init_people
    set ::root_id $spawn_id
}

proc root_leave {} {
    catch { close -i $::root_id }
    catch { wait -nowait -i $::root_id }
    unset -nocomplain ::root_id
}

# Runs a command as root; what it printed. `::status` is how it ended.
proc root {command} {
    if {![info exists ::root_id]} { root_connect }
    set mark "end-[clock clicks]"
    # Whatever is in the command, it is one line to the shell, and reads no other line.
    set sealed [binary encode base64 [encoding convertto utf-8 $command]]
    send -i $::root_id -- "eval \"\$(echo $sealed | base64 -d)\" </dev/null 2>&1; echo \"\n$mark \$?\"\n"
    expect {
        -i $::root_id
        -re "$mark \[0-9\]+\r?\n" {
            # Not by groups of expect's: an empty one gives everything that was matched.
            set all [string map {\r ""} $expect_out(buffer)]
            regexp "^(.*)\n$mark (\[0-9\]+)\n" $all - text ::status
            set ::last_shown [string trimright $text]
        }
        timeout { set ::last_shown $command; fail "an end of root's command within $::timeout s" }
        eof {
            set ::last_shown "$command\n$expect_out(buffer)"
            unset ::root_id
            fail "root's shell to stay"
        }
    }
    return $::last_shown
}

# The same, and it has to succeed.
proc must {command} {
    root $command
    if {$::status != 0} { fail "success of root's command: $command (it ended with $::status)" }
    return $::last_shown
}

# The same, shown as something that a person types to follow along.
proc admin {command} {
    puts "   root# $command"
    say [must $command]
    return $::last_shown
}

# --- People, each at a terminal

# What getty and login ask on the console, and not what login says of the last time.
set login_prompt {[\r\n](?!Last)\S+ login: ?$}

# Waits until the console asks who is there. It may take a while to be connected, and whoever sat
# there before us may have left half a line.
proc login_prompt {id} {
    for {set nr 0} {$nr < 60} {incr nr} {
        send -i $id -- "\x15\r"
        expect {
            -i $id
            -timeout 5
            -re $::login_prompt { return }
            timeout {}
            eof break
        }
    }
    catch { set ::last_shown $expect_out(buffer) }
    fail "a login prompt on the console"
}

# Sits `who` down at a terminal: `key` and `password` come by ssh, `console` is the serial console.
# Gives whether they got a shell. A name may carry a place: alice@2 is alice at a second terminal.
proc sit_down {who {way key} {password ""}} {
    set name [lindex [split $who @] 0]
    if {$password eq ""} { set password $name-password }
    set ::asked {}
    switch $way {
        key { spawn -noecho {*}[ssh_command -tt -l $name machine] }
        password {
            # The second word, because Vagrant's own configuration forbids it.
            spawn -noecho {*}[ssh_command -tt -l $name -o PubkeyAuthentication=no \
                -o PasswordAuthentication=yes -o NumberOfPasswordPrompts=1 machine]
        }
        console {
            spawn -noecho {*}$::env(VM_CONSOLE)
            login_prompt $spawn_id
            send -- "$name\r"
        }
    }
    set ::seat($who) $spawn_id
    set ::seat_way($who) $way
    set expect_out(buffer) ""
    set shown ""
    expect {
        -i $spawn_id
        -re $::login_prompt {
            # Again, after the password: that was a no.
            if {$::asked eq ""} { exp_continue }
        }
        -re {assword: ?$} {
            append shown $expect_out(buffer)
            lappend ::asked password
            send -i $spawn_id -- "$password\r"
            exp_continue
        }
        -re {[Cc]ode[a-z0-9 ]*: ?$} {
            append shown $expect_out(buffer)
            lappend ::asked code
            send -i $spawn_id -- "[phone $name]\r"
            exp_continue
        }
        -re {[$#] $} {
            set ::last_shown "$shown$expect_out(buffer)"
            # exec keeps the process that leads the session, as factors proved in it need.
            send -i $spawn_id -- "stty -echo; exec env TERM=dumb PS1='\[$who \$?\] ' bash --noediting --norc --noprofile\r"
            expect {
                -i $spawn_id
                -re "\\\[$who \[0-9\]+\\\] $" {}
                timeout { fail "a prompt for $who" }
                eof { fail "a shell for $who" }
            }
            return 1
        }
        timeout { set ::last_shown "$shown$expect_out(buffer)"; fail "$who in, or refused, by $way" }
        eof { append shown $expect_out(buffer) }
    }
    set ::last_shown "$shown$expect_out(buffer)"
    # There is no shell to leave.
    set ::seat_way($who) refused
    get_up $who
    return 0
}

# Leaves the terminal; on the console, so that the next one can log in.
proc get_up {who} {
    if {![info exists ::seat($who)]} { return }
    set id $::seat($who)
    if {$::seat_way($who) eq "console"} {
        catch { send -i $id -- "exit\r"; expect -i $id -re $::login_prompt }
    }
    catch { close -i $id }
    catch { wait -nowait -i $id }
    unset ::seat($who)
}

proc all_get_up {} {
    foreach who [array names ::seat] { get_up $who }
    root_leave
}

# Types a command as `who` and answers what is asked: `-password TEXT`, `-code TEXT`, or what is
# true. What was shown; `::status` is how it ended, `::asked` what was asked.
proc type {who command args} {
    set name [lindex [split $who @] 0]
    array set say [list -password $name-password -code ""]
    array set say $args
    set id $::seat($who)
    set ::asked {}
    set expect_out(buffer) ""
    set shown ""
    puts "   $who\$ $command"
    send -i $id -- "$command\r"
    expect {
        -i $id
        -re {(assword: ?|password for [a-z]+: ?)$} {
            append shown $expect_out(buffer)
            lappend ::asked password
            send -i $id -- "$say(-password)\r"
            exp_continue
        }
        -re {[Cc]ode[a-z0-9 ]*: ?$} {
            append shown $expect_out(buffer)
            lappend ::asked code
            # Not by `expr`, which reads a number where a code begins with a zero.
            if {$say(-code) eq ""} { set code [phone $name] } else { set code $say(-code) }
            send -i $id -- "$code\r"
            exp_continue
        }
        -re "\\\[$who (\[0-9\]+)\\\] $" {
            append shown $expect_out(buffer)
            set ::status $expect_out(1,string)
        }
        timeout { set ::last_shown "$shown$expect_out(buffer)"; fail "an end of '$command' within $::timeout s" }
        eof { set ::last_shown "$shown$expect_out(buffer)"; fail "a shell after '$command'" }
    }
    regsub "\\\[$who \[0-9\]+\\\] $" $shown "" shown
    set ::last_shown [string map {\r ""} [string trim $shown]]
    say $::last_shown
    return $::last_shown
}

# The same; `::took` is how many seconds the machine says that it took.
proc timed {args} {
    set start [uptime]
    uplevel 1 [list type {*}$args]
    set shown $::last_shown
    set status $::status
    set ::took [expr {[uptime] - $start}]
    set ::last_shown $shown
    set ::status $status
}

proc uptime {} { return [lindex [must "cat /proc/uptime"] 0] }

# The code that the person's telephone shows, by the machine's own clock; one not used before.
proc phone {who} {
    set shown $::last_shown
    set status [expr {[info exists ::status] ? $::status : 0}]
    set start [clock milliseconds]
    set code [string trim [must "phone $who"]]
    set waited [expr {([clock milliseconds] - $start) / 1000}]
    if {$waited > 3} { puts "   (waited $waited s for a code not used before)" }
    set ::last_shown $shown
    set ::status $status
    return $code
}

# --- Grants

# Gives somebody something, as `jit grant add` does; the grant's id.
proc grant {who options} {
    admin "jit grant add --user $who $options --reason test"
    if {![regexp {[a-z]+-[a-z-]+-[a-z0-9]+} $::last_shown id]} { fail "the id of a grant" }
    return $id
}

# Takes back whatever a chapter, or somebody before us, left behind.
proc revoke_all {} {
    foreach id [regexp -all -inline {local:[A-Za-z0-9._-]+} [root "jit grant list --json"]] {
        root "jit grant revoke $id"
    }
}

proc revoke {id} { must "jit grant revoke $id" }

proc machine_time {} { return [string trim [must "date +%s"]] }

# Waits until the machine's clock shows a moment. It may go more slowly than ours.
proc wait_until {moment} {
    while {[set left [expr {$moment - [machine_time]}]] > 0} {
        puts "   (waiting $left s)"
        after [expr {$left * 1000}]
    }
}

# --- The machine itself

# The login that set the machine up and keeps it.
proc keeper {} {
    if {![info exists ::keeper]} { set ::keeper [string trim [exec {*}[ssh_command machine id -un]]] }
    return $::keeper
}

proc has_console {} { return [info exists ::env(VM_CONSOLE)] }

proc has {file} { root "test -e $file"; return [expr {$::status == 0}] }

proc reboot {} {
    set before [must "cat /proc/sys/kernel/random/boot_id"]
    catch { send -i $::root_id -- "systemctl reboot\n"; expect -i $::root_id eof }
    all_get_up
    set end [expr {[clock seconds] + 900}]
    while 1 {
        if {[clock seconds] > $end} { fail "the machine up again within 900 s" }
        after 500
        # Patiently, each time: see boot.sh.
        if {[catch { exec {*}[ssh_command -o ConnectTimeout=60 -o BatchMode=yes machine \
            cat /proc/sys/kernel/random/boot_id] 2>/dev/null </dev/null } now]} { continue }
        if {[string trim $now] ne [string trim $before]} break
    }
}
