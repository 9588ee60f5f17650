#!/usr/bin/env bash
# What our programs are made of: licences, bans and sources (deny.toml), known vulnerabilities, and
# which of our crates may use what. Run by `make check`.
set -euo pipefail
cd "$(dirname "$0")/.."

# The crates that CRATE links, itself left out.
made_of() {
    cargo tree --locked -p "$1" -e normal,no-proc-macro --prefix none -f '{p}' |
        awk '{ print $1 }' | sort -u | grep -vx "$1"
}

# The module runs inside other people's setuid programs: a list that is short and known, so that
# whoever makes it longer says so here.
module="itoa jit-protocol libc memchr pam-bindings serde serde_core serde_json zeroize zmij"
found=$(made_of pam_jit | tr '\n' ' ')
found=${found% }
if [ "$found" != "$module" ]; then
    echo "pam_jit is made of: $found" >&2
    echo "and should be of:   $module (tests/deny.sh)" >&2
    exit 1
fi

# Decisions are a pure function, and what the module speaks is blocking.
apart() {
    local crate=$1 other
    shift
    for other in "$@"; do
        if made_of "$crate" | grep -qx "$other"; then
            echo "$crate must not use $other, not even through another crate (tests/deny.sh)" >&2
            exit 1
        fi
    done
}
apart jit-policy tokio reqwest nix rustix jit-protocol jit-agent
apart jit-protocol tokio reqwest tracing jit-policy jit-agent
apart jit-cli tokio reqwest jit-agent

command -v cargo-deny >/dev/null || cargo install --quiet --locked cargo-deny
cargo deny --log-level error check bans licenses sources

# The list of vulnerabilities is somebody else's and on the network: that it cannot be had is no
# fault of ours, but nobody shall believe that it was read.
db=(cargo deny --log-level error)
if "${db[@]}" fetch db >/dev/null 2>&1; then
    "${db[@]}" check --disable-fetch advisories
else
    echo "advisories NOT CHECKED: the database of vulnerabilities could not be fetched" >&2
fi
