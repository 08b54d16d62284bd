#!/usr/bin/env bash
# Builds Quorate if need be and starts a testnet; every argument goes to `quorate testnet up`.
# QUORATE_BIN_DIR names a directory with `quorate` and `quorate-testnet` and skips the build.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

if [ -z "${QUORATE_BIN_DIR:-}" ]; then
    target=${CARGO_TARGET_DIR:-$root/target}
    # What is relative is so to where we are, and not to where the build runs.
    case $target in /*) ;; *) target=$PWD/$target ;; esac
    if [ ! -x "$target/release/quorate" ]; then
        echo "building Quorate; the first build takes a few minutes" >&2
    fi
    if ! command -v cargo >/dev/null; then
        echo "launch.sh: there is no cargo; https://rustup.rs installs Rust" >&2
        exit 3
    fi
    # From the root, where the toolchain is pinned and .cargo/config.toml stands. Not quietly: what has changed since the last
    # time takes a while, too. All programs, so that nothing is built anew for another one.
    (cd "$root" && CARGO_TARGET_DIR=$target cargo build --release --locked --workspace --bins)
    QUORATE_BIN_DIR=$target/release
fi
export QUORATE_BIN_DIR
exec "$QUORATE_BIN_DIR/quorate-testnet" up "$@"
