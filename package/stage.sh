#!/usr/bin/env bash
# Lays out what package/files lists.
#
#   stage.sh BUILT ROOT
#
# BUILT holds what `make release` made; everything goes under ROOT ("" is this machine). The
# environment says where: PREFIX and PAMDIR, and if they are not the usual ones below PREFIX, any of
# the others. Prints what was laid out, a line each: place, mode, config or "-".
set -euo pipefail
cd "$(dirname "$0")/.."

[ $# = 2 ] || { echo "usage: stage.sh BUILT ROOT" >&2; exit 2; }
built=$1 root=$2
: "${PREFIX:?}" "${PAMDIR:?}"
SBINDIR=${SBINDIR:-$PREFIX/sbin}
BINDIR=${BINDIR:-$PREFIX/bin}
SHAREDIR=${SHAREDIR:-$PREFIX/share}
UNITDIR=${UNITDIR:-$PREFIX/lib/systemd/system}
MANDIR=${MANDIR:-$SHAREDIR/man}
ZSHDIR=${ZSHDIR:-$SHAREDIR/zsh/site-functions}
DOCDIR=${DOCDIR:-$SHAREDIR/doc/pam-jit}

for file in jit jit-agentd pam_jit.so third-party.txt; do
    [ -e "$built/$file" ] || { echo "$built/$file is missing: 'make release' first" >&2; exit 1; }
done
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
"$built/jit" man --out "$made/man"
for shell in bash zsh fish; do
    "$built/jit" completions "$shell" >"$made/jit.$shell"
done
sed "s|@SBINDIR@|$SBINDIR|" package/jit-agentd.service >"$made/jit-agentd.service"

# The value of $NAME at the beginning of a place.
place() {
    local name=${1%%/*}
    case $name in
    \$*)
        name=${name#\$}
        echo "${!name}/${1#*/}"
        ;;
    *) echo "$1" ;;
    esac
}

lay_out() {
    local what=$1 where=$2 mode=$3 config=${4:--} file to
    what=${what/#built/$built}
    what=${what/#made/$made}
    for file in $what; do
        [ -f "$file" ] || { echo "package/files: there is no $file" >&2; exit 1; }
        case $where in
        */) to=$where${file##*/} ;;
        *) to=$where ;;
        esac
        # What the administrator wrote stays; a package manager knows how to ask, we do not.
        if [ "$config" = - ] || [ ! -e "$root$to" ]; then
            install -D -m "$mode" "$file" "$root$to"
        fi
        echo "$to $mode $config"
    done
}

while read -r what where mode config; do
    case $what in '' | \#*) continue ;; esac
    lay_out "$what" "$(place "$where")" "$mode" "$config"
done <package/files
