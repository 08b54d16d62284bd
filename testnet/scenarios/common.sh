# Sourced by the stories: a testnet of its own for each, in a directory that is gone when it is told.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
QUORATE_TESTNET=$(mktemp -d -t quorate-story-XXXXXX)/t
export QUORATE_TESTNET
trap 'testnet down --purge >/dev/null 2>&1 || true; rmdir "${QUORATE_TESTNET%/t}" 2>/dev/null || true' EXIT

# story TITLE, then arguments of `up`.
story() {
    printf '=== %s: %s\n' "$(basename "$0" .sh)" "$1"
    shift
    "$root/testnet/launch.sh" --detach --api-port 0 --p2p-port 0 "$@" >/dev/null
    QUORATE_BIN_DIR=${QUORATE_BIN_DIR:-${CARGO_TARGET_DIR:-$root/target}/release}
    export QUORATE_BIN_DIR
}

testnet() {
    "$QUORATE_BIN_DIR/quorate-testnet" "$@"
}

say() {
    printf '%s\n' "$*"
}

# The story is not true.
fail() {
    say "NOT TRUE: $*" >&2
    testnet status >&2 || true
    exit 1
}

# What the table of nodes says: column NODE NUMBER.
column() {
    testnet status | awk -v node="node$1" -v column="$2" '$1 == node { print $column }'
}

role() { column "$1" 4; }
term() { column "$1" 5; }
height() { column "$1" 6; }
sees() { column "$1" 7; }

# The number of the node that leads.
leader() {
    testnet status | awk '$4 == "leader" { print substr($1, 5) }' | tail -n 1
}

# Has node 0 lead, whoever came first.
node0_leads() {
    testnet leader 0
    testnet wait --leader
    say "node0 leads term $(term 0)"
}
