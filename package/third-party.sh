#!/usr/bin/env bash
# Prints the Rust libraries that our programs contain, their licences, and each licence's text once:
# most of them ask that their text goes where the program goes.
set -euo pipefail
cd "$(dirname "$0")/.."

crates=$(for program in jit-agent jit-cli pam_jit; do
    cargo tree --locked -p $program -e normal,no-proc-macro --prefix none -f '{p}|{l}'
done | sed -E 's/ \(\*\)$//; s/ \(proc-macro\)//' | grep -v ' (/' | sort -u)
sources=$(cargo metadata --locked --format-version 1 |
    grep -o '"manifest_path":"[^"]*"' | sed 's/.*:"//; s/\/Cargo.toml"$//')

echo "The programs contain Rust's standard library (MIT OR Apache-2.0) and these libraries:"
echo
while IFS='|' read -r crate licence; do echo "  ${crate/ v/ }: $licence"; done <<<"$crates"
echo
echo "Their texts. Where one stands for several libraries, it says so."

declare -A text of
order=()
while IFS='|' read -r crate _; do
    folder=$(grep "/${crate/ v/-}\$" <<<"$sources") || { echo "no source of $crate" >&2; exit 1; }
    found=
    for file in "$folder"/{LICEN[CS]E,COPYING,COPYRIGHT,NOTICE,UNLICENSE,license}*; do
        [ -f "$file" ] || continue
        found=yes
        sum=$(sha256sum <"$file")
        [ -n "${text[$sum]:-}" ] || order+=("$sum")
        text[$sum]=$file
        of[$sum]="${of[$sum]:-}${of[$sum]:+, }${crate/ v/ }"
    done
    [ -n "$found" ] || none="${none:-}${none:+, }${crate/ v/ }"
done <<<"$crates"
for sum in "${order[@]}"; do
    printf '\n%s\n' "------------------------------------------------------------------------"
    fold -s -w 76 <<<"${of[$sum]}"
    echo
    cat "${text[$sum]}"
done
if [ -n "${none:-}" ]; then
    printf '\n%s\n' "------------------------------------------------------------------------"
    echo "Without a text of their own, under the licences named above:"
    fold -s -w 76 <<<"$none"
fi
