#!/usr/bin/env bash
# Ends the testnet that launch.sh has started; every argument goes to `quorate testnet down`.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
bin=${QUORATE_BIN_DIR:-${CARGO_TARGET_DIR:-$root/target}/release}
if [ ! -x "$bin/quorate-testnet" ]; then
    echo "stop.sh: $bin has no quorate-testnet; launch.sh builds it" >&2
    exit 3
fi
exec "$bin/quorate-testnet" down "$@"
