#!/usr/bin/env bash
# What can be seen without installing: both packages hold the same, nothing in them is odd, the
# manual renders, completions load, the unit is confined.
#
#   contents.sh BUILT PACKAGES
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
built=$(cd "$1" && pwd)
deb=$(ls "$2"/*.deb) rpm=$(ls "$2"/*.rpm)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "package contents: $*" >&2; exit 1; }

# The same files, in the places where each distribution has them.
alike() { sed -E 's|/usr/lib/[a-z0-9_]+-linux-gnu/|/usr/lib64/|; s|/zsh/vendor-completions/|/zsh/site-functions/|; s|(/man/.*)\.gz$|\1|; /changelog.Debian.gz/d' | sort; }
dpkg-deb -c "$deb" | awk '!/^d/ { print substr($1, 1, 10), substr($6, 2) }' | alike >"$work/deb"
rpm -qplv "$rpm" | awk '{ print substr($1, 1, 10), $NF }' | alike >"$work/rpm"
diff "$work/deb" "$work/rpm" >&2 || fail "deb and rpm differ"
grep -vE '^-rw-r--r-- |^-rwxr-xr-x /usr/s?bin/jit' "$work/deb" && fail "odd modes"
for file in /usr/sbin/jit-agentd /usr/bin/jit /usr/lib64/security/pam_jit.so; do
    grep -q " $file\$" "$work/deb" || fail "$file is missing"
done
grep -q ' /etc/pam\.d' "$work/deb" && fail "a PAM file is in the package"
dpkg-deb -I "$deb" conffiles >"$work/conffiles"
rpm -qpc "$rpm" | diff - <(sort "$work/conffiles") >&2 || fail "deb and rpm disagree on what the administrator's files are"

# It never goes into Debian's archive, so there is no bug that its first upload would close.
lintian --allow-root --fail-on warning --suppress-tags initial-upload-closes-no-bugs "$deb" || fail "lintian"
[ "$(dpkg-deb -f "$deb" Version)" = "$(dpkg-deb --fsys-tarfile "$deb" |
    tar -xO ./usr/share/doc/pam-jit/changelog.Debian.gz | zcat | dpkg-parsechangelog -l - -S Version)" ] ||
    fail "package/changelog is of another version"

dpkg-deb -x "$deb" "$work/root"
for page in "$work"/root/usr/share/man/man*/*; do
    said=$(LC_ALL=C.UTF-8 MANWIDTH=80 man -l --warnings "$page" 2>&1 >/dev/null)
    [ -z "$said" ] || fail "${page##*/}: $said"
    # Pages made from the command line bear no date: it would be another one at each build.
    said=$(zcat "$page" | mandoc -Tlint -Wwarning 2>&1 | grep -v 'missing date' || true)
    [ -z "$said" ] || fail "${page##*/}: $said"
done
# Each verb that --help shows has its page.
verbs() {
    "$built/jit" "$@" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z-]*\) .*/\1/p' | grep -vx help
}
for verb in $(verbs); do
    for page in "$verb" $(verbs "$verb" | sed "s/^/$verb-/"); do
        [ -e "$work/root/usr/share/man/man1/jit-$page.1.gz" ] || fail "jit-$page(1) is missing"
    done
done

bash -n "$work/root/usr/share/bash-completion/completions/jit"
# shellcheck disable=SC1091 # what bash-completion does
said=$(bash -c '. "$1"; COMP_WORDS=(jit gr); COMP_CWORD=1; complete -p jit >/dev/null && _jit jit gr jit; echo "${COMPREPLY[*]}"' _ \
    "$work/root/usr/share/bash-completion/completions/jit")
[ "$said" = grant ] || fail "bash completes 'jit gr' to '$said'"

zsh -n "$work/root/usr/share/zsh/vendor-completions/_jit" || fail "zsh cannot read its completions"
fish -n "$work/root/usr/share/fish/vendor_completions.d/jit.fish" || fail "fish cannot read its completions"

# By hand it is the same, and what the administrator wrote stays.
by_hand() {
    make --no-print-directory -C "$here/../.." install RELEASE="$built" DESTDIR="$work/hand" PREFIX=/usr PAMDIR=/usr/lib64/security >/dev/null
}
by_hand
(cd "$work/hand" && find . -type f -printf '%M /%P\n') | sort | diff - "$work/rpm" >&2 || fail "make install and the packages differ"
echo '# mine' >>"$work/hand/etc/pam_jit/agent.toml"
by_hand
grep -q '# mine' "$work/hand/etc/pam_jit/agent.toml" || fail "make install takes the administrator's settings"

exposure=$(systemd-analyze security --offline=true --threshold=30 "$work/root/usr/lib/systemd/system/jit-agentd.service" |
    tail -n 1) || fail "the unit is exposed: $exposure"
echo "package contents: ${exposure#* }"
