#!/usr/bin/env bash
# Boots a disk of tests/vm/disk.sh in a virtual machine, runs a command beside it, and ends both.
# Nothing is kept: what the machine writes goes to a file that is thrown away. Needs no root.
#
#   boot.sh RELEASE FOLDER               a shell on the machine; leaving it ends the machine
#   boot.sh RELEASE FOLDER COMMAND...    run COMMAND, end with its exit status
#
# COMMAND finds in its environment
#   VM_SSH      a configuration for ssh, with the one host "machine" (user vagrant, by key)
#   VM_CONSOLE  a command that connects standard input and output to the serial console
#   VM_LOG      a file with all that was ever shown on that console
# VM_ACCEL names another accelerator than tcg, which is slow and works everywhere (kvm, hvf).
set -euo pipefail

die() { echo "boot: $*" >&2; exit 1; }
[ $# -ge 2 ] || die "usage: boot.sh RELEASE FOLDER [COMMAND...]"
release=$1 folder=$(cd "$2" && pwd)
shift 2
[ -e "$folder/$release.ext4" ] || die "$folder/$release.ext4 is missing; tests/vm/disk.sh makes it"

# How long a machine may take until it lets somebody in: it has one slow core, and may not have all of that.
patience=900

accel=${VM_ACCEL:-tcg}
qemu=$("$(dirname "$0")/qemu.sh" "$folder")
emulated=()
if [ "$accel" = tcg ]; then
    # The machine's time goes by what it does, 4 ns an instruction, and by the host's clock only while
    # it has nothing to do. So a busy host makes it take longer, but late for nothing: no deadline
    # in there passes because of what goes on out here.
    emulated=(-icount shift=2 -rtc clock=vm -cpu "qemu64,-svm")
fi

work=$(mktemp -d)
machine='' command=''
end() {
    local it
    # Whoever reads what is said here may be gone first.
    trap "" PIPE
    for it in $command $machine; do
        kill "$it" 2>/dev/null || true
        wait "$it" 2>/dev/null || true
    done
    rm -rf "$work"
}
trap end EXIT
trap 'exit 130' INT TERM HUP PIPE

port=
for _ in $(seq 20); do
    port=$((RANDOM % 20000 + 20000))
    if ! (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then break; fi
done

export VM_SSH=$work/ssh_config VM_LOG=$work/console.log
export VM_CONSOLE="socat STDIO,raw,echo=0 UNIX-CONNECT:$work/console"
: >"$VM_LOG"
install -m 600 "$folder/key" "$work/key"
cat >"$VM_SSH" <<END
Host machine
    HostName 127.0.0.1
    Port $port
    User vagrant
    IdentityFile $work/key
    IdentitiesOnly yes
    StrictHostKeyChecking no
    UserKnownHostsFile /dev/null
    LogLevel ERROR
    ConnectTimeout 60
END

# -snapshot writes to a file in TMPDIR. Direct kernel boot needs no boot loader, and skips one. What
# emulation makes dear is left out: detours that real processors need, and code in ever new places.
TMPDIR=$work nice -n 10 "$qemu" -accel "$accel" "${emulated[@]}" -smp 1 -m 768 -snapshot \
    -kernel "$folder/$release.vmlinuz" -initrd "$folder/$release.initrd" \
    -append "root=/dev/vda rw console=ttyS0 quiet mitigations=off norandmaps" \
    -drive "file=$folder/$release.ext4,format=raw,if=virtio" \
    -nic "user,model=virtio-net-pci,hostfwd=tcp:127.0.0.1:$port-:22" \
    -chardev "socket,id=console,path=$work/console,server=on,wait=off,logfile=$VM_LOG,logappend=on" \
    -serial chardev:console -device virtio-rng-pci \
    -display none -monitor none -no-user-config -nodefaults -sandbox on \
    </dev/null >"$work/qemu.log" 2>&1 &
machine=$!

# No hurry with any of them: sshd shuts out for a while who hangs up too often before they are in
# (PerSourcePenalties in sshd_config(5)), and all come from one address.
start=$SECONDS
until ssh -F "$VM_SSH" -o BatchMode=yes machine true </dev/null 2>"$work/ssh.log"; do
    kill -0 "$machine" 2>/dev/null || die "qemu ended: $(cat "$work/qemu.log")"
    [ $((SECONDS - start)) -lt $patience ] ||
        die "no login within $patience s ($(cat "$work/ssh.log")); the end of its console:" \
            "$(tail -n 30 "$VM_LOG")"
    sleep 0.5
done
echo "boot: Debian $release is up after $((SECONDS - start)) s"

if [ $# -gt 0 ]; then
    # In the background, so that a signal is heard meanwhile.
    "$@" <&0 &
    command=$!
    wait $command
else
    echo "boot: its console: $VM_CONSOLE"
    ssh -F "$VM_SSH" machine
fi
