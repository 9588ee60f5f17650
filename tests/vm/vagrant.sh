#!/usr/bin/env bash
# Proves vagrant/Vagrantfile: Debian's own vagrant and libvirt bring a machine up from it, and then
# everything that vagrant/README.md says is done there. Needs root.
#
#   vagrant.sh RELEASE FOLDER DEB
#
# Nothing reaches the machine that this runs on: libvirt and its networks live in mounts and a network
# of their own and end with them. Instead of a box from the internet there is one made of the disk
# that tests/vm/disk.sh built; that it boots without a boot loader and without KVM stands in the
# box's own Vagrantfile, so that ours is used as it is.
set -euo pipefail

die() { echo "vagrant.sh: $*" >&2; exit 1; }
here=$(cd "$(dirname "$0")" && pwd)

outside() {
    [ $# = 3 ] || die "usage: vagrant.sh RELEASE FOLDER DEB"
    [ "$(id -u)" = 0 ] || die "libvirt and namespaces need root"
    local release=$1 folder deb
    folder=$(cd "$2" && pwd)
    deb=$(realpath "$3")
    [ -e "$folder/$release.ext4" ] || die "$folder/$release.ext4 is missing; tests/vm/disk.sh makes it"
    export VAGRANT_INSIDE=1
    VAGRANT_QEMU=$("$here/qemu.sh" "$folder")
    export VAGRANT_QEMU
    exec unshare --net --mount --pid --fork --kill-child bash "$here/vagrant.sh" "$release" "$folder" "$deb"
}

# Everything that libvirt and vagrant write, on one tmpfs (the disk's image is sparse, and small).
lay_out() {
    local dir
    mount --make-rprivate /
    mount -t proc proc /proc
    mount -t tmpfs -o mode=0755 vagrant /mnt
    mkdir -p /mnt/{run/lock,var/lib/libvirt/images,var/log/libvirt,var/cache/libvirt,home,etc/libvirt}
    cp -a /etc/libvirt/. /mnt/etc/libvirt
    # As root in here, and without what this kernel or container may lack.
    printf '%s\n' 'user = "root"' 'group = "root"' 'security_driver = "none"' 'namespaces = []' \
        'cgroup_controllers = []' 'remember_owner = 0' >>/mnt/etc/libvirt/qemu.conf
    for dir in run var/lib/libvirt var/log/libvirt var/cache/libvirt etc/libvirt; do
        mkdir -p "/$dir"
        mount --bind "/mnt/$dir" "/$dir"
    done
    ip link set lo up
}

services() {
    virtlogd -d
    libvirtd -d
    local _
    for _ in $(seq 100); do
        if virsh -q -c qemu:///system version >/dev/null 2>&1; then return; fi
        sleep 0.2
    done
    die "libvirtd does not answer: $(tail -n 20 /var/log/libvirt/* 2>/dev/null)"
}

make_box() {
    local box=/mnt/home/box
    mkdir -p $box
    qemu-img convert -q -f raw -O qcow2 "$folder/$release.ext4" $box/box.img
    cp "$folder/$release".{vmlinuz,initrd} /var/lib/libvirt/images/
    install -m 600 "$folder/key" /mnt/home/key
    echo '{"provider": "libvirt", "format": "qcow2", "virtual_size": 3}' >$box/metadata.json
    cat >$box/Vagrantfile <<END
Vagrant.configure("2") do |config|
  config.ssh.private_key_path = "/mnt/home/key"
  config.ssh.insert_key = false
  config.vm.boot_timeout = 900
  config.vm.provider "libvirt" do |machine|
    machine.driver = "qemu"
    machine.emulator_path = "$VAGRANT_QEMU"
    machine.cpu_mode = "custom"
    machine.cpu_model = "qemu64"
    machine.kernel = "/var/lib/libvirt/images/$release.vmlinuz"
    machine.initrd = "/var/lib/libvirt/images/$release.initrd"
    machine.cmd_line = "root=/dev/vda rw console=ttyS0 quiet mitigations=off norandmaps"
  end
end
END
    tar -C $box -cf /mnt/home/jit.box metadata.json box.img Vagrantfile
    vagrant --no-tty box add --name jit-test /mnt/home/jit.box
    rm -rf $box /mnt/home/jit.box
}

inside() {
    release=$1 folder=$2
    export JIT_DEB=$3 JIT_BOX=jit-test
    unset VAGRANT_INSIDE
    lay_out
    export HOME=/mnt/home VAGRANT_HOME=/mnt/home/vagrant.d VAGRANT_DOTFILE_PATH=/mnt/home/dot
    export VAGRANT_DEFAULT_PROVIDER=libvirt VAGRANT_NO_COLOR=1 VAGRANT_CHECKPOINT_DISABLE=1 LC_ALL=C.UTF-8
    services
    cd "$here/../../vagrant"
    make_box
    local start=$SECONDS
    vagrant --no-tty up
    echo "vagrant.sh: up and provisioned after $((SECONDS - start)) s"
    vagrant ssh-config --host machine >/mnt/home/ssh_config
    local domain
    domain=$(virsh -q -c qemu:///system list --name | head -n 1)
    VM_SSH=/mnt/home/ssh_config VM_CONSOLE="virsh -q -c qemu:///system console --force $domain" \
        "$here/scenario.exp" tour doors
    # What anybody does next has to work too, with the gate in front of vagrant's own sudo.
    vagrant provision
    vagrant halt
    vagrant destroy -f
}

if [ -z "${VAGRANT_INSIDE:-}" ]; then outside "$@"; else inside "$@"; fi
