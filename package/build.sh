#!/usr/bin/env bash
# Makes a package out of what was built.
#
#   build.sh deb|rpm BUILT OUT
#
# BUILT holds what `make release` made, OUT gets the package, whose path is printed. VERSION is Cargo.toml's
# if not given.
set -euo pipefail
cd "$(dirname "$0")/.."

[ $# = 3 ] && [[ $1 =~ ^(deb|rpm)$ ]] || { echo "usage: build.sh deb|rpm BUILT OUT" >&2; exit 2; }
kind=$1
built=$(cd "$2" && pwd)
mkdir -p "$3"
out=$(cd "$3" && pwd)

# What Cargo.toml says once, for all crates.
said() { sed -n "/^\[workspace.package\]/,/^\[/s/^$1 = \"\(.*\)\"/\1/p" Cargo.toml; }
version=${VERSION:-$(said version)}
# The same sources give the same package, whenever it is made.
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
umask 022
mkdir -p "$work/built" "$work/scripts"
cp "$built"/{jit,jit-agentd,pam_jit.so,third-party.txt} "$work/built"
strip --strip-unneeded "$work"/built/{jit,jit-agentd,pam_jit.so}

# Where the distributions look.
export PREFIX=/usr
case $kind in
deb)
    PAMDIR=/usr/lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH)/security
    export PAMDIR ZSHDIR=/usr/share/zsh/vendor-completions
    ;;
rpm) export PAMDIR=/usr/lib64/security ;;
esac

manifest() {
    sed -e "s|@VERSION@|$version|" -e "s|@REPOSITORY@|$(said repository)|" package/manifest.toml
    local to mode config
    while read -r to mode config; do
        case $kind in
        # cargo-deb takes everything in /etc for the administrator's.
        deb) printf '\n[[package.metadata.deb.assets]]\nsource = "root%s"\ndest = "%s"\nmode = "%s"\n' "$to" "${to#/}" "$mode" ;;
        rpm)
            printf '\n[[package.metadata.generate-rpm.assets]]\nsource = "root%s"\ndest = "%s"\nmode = "%s"\n' "$to" "$to" "$mode"
            case $config:$to in
            config:*) echo 'config = "noreplace"' ;;
            *:/usr/share/doc/* | *:/usr/share/man/*) echo 'doc = true' ;;
            esac
            ;;
        esac
    done <"$work/placed"
}

package/stage.sh "$work/built" "$work/root" >"$work/placed"
manifest >"$work/Cargo.toml"
: >"$work/lib.rs"
cp package/changelog "$work/changelog"
for script in package/"$kind"/*; do
    sed -e '/^#LEAVE-PAM#$/{r package/leave-pam.sh' -e 'd}' "$script" >"$work/scripts/${script##*/}"
done

cd "$work"
export CARGO_TARGET_DIR=$work/target
case $kind in
deb) cargo deb --quiet --no-build --no-strip --output "$out/" >/dev/null ;;
# Not its own finder: that does not look into modules, and ours must not meet a C library too old.
rpm) cargo generate-rpm --auto-req find-requires --source-date "$SOURCE_DATE_EPOCH" --output "$out/" ;;
esac
ls "$out"/pam-jit?"$version"-1?*."$kind"
