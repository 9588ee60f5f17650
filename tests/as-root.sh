#!/usr/bin/env bash
# Runs a command as root, by sudo if need be, with the caller's Rust and the caller's variables
# that cargo and the tests read. What root then leaves in the target folder is given back.
set -euo pipefail

if [ "$(id -u)" = 0 ]; then exec "$@"; fi
command -v sudo >/dev/null || {
    echo "this needs root, and there is no sudo here: run it as root" >&2
    exit 1
}
keep=(PATH="$PATH" HOME="$HOME")
for name in $(compgen -e); do
    case $name in
    CARGO* | RUST* | JIT_* | SUDO_RS | WORLD_FILES | PROPTEST_* | TERM | NO_COLOR | OUT_DIR | FUZZ_*)
        keep+=("$name=${!name}") ;;
    esac
done

target=${CARGO_TARGET_DIR:-$(cd "$(dirname "$0")/.." && pwd)/target}
give_back() {
    sudo find "$target" -uid 0 -exec chown -h "$(id -u):$(id -g)" {} + 2>/dev/null || true
}
trap give_back EXIT
sudo env "${keep[@]}" "$@"
