#!/usr/bin/env bash
# What is too long for `cargo test`, on real processes: the stories, a node that catches up with 100,000 blocks,
# and chaos.
#
#   testnet/long.sh [--minutes M] [--seed S]    30 minutes of chaos unless said, from the time of day
#
# Ends with status 0 if all of it was true and no promise was broken; the report of chaos stays here as a page.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
minutes=30 seed=$(date +%s)
while [ $# -gt 0 ]; do
    case $1 in
        --minutes) minutes=${2:?--minutes needs a number} && shift ;;
        --seed) seed=${2:?--seed needs a number} && shift ;;
        *) sed -n '/^#  /s/^#   *//p' "${BASH_SOURCE[0]}" >&2 && exit 2 ;;
    esac
    shift
done
if [ -z "${QUORATE_BIN_DIR:-}" ]; then
    root=$(dirname "$here")
    target=${CARGO_TARGET_DIR:-$root/target}
    (cd "$root" && CARGO_TARGET_DIR=$target cargo build --quiet --release --locked \
        --package quorate-node --package quorate-testnet --bins)
    export QUORATE_BIN_DIR=$target/release
fi
# What is promised of a node that comes back.
export RATE=5000 WITHIN=1000
for story in leader_stop_election leader_stop_election_2 node0_revive node1_revive block_height catch_up; do
    "$here/scenarios/$story.sh"
done
# A testnet of its own, whatever runs elsewhere.
QUORATE_TESTNET=/dev/null/none "$QUORATE_BIN_DIR/quorate-testnet" chaos \
    --minutes "$minutes" --seed "$seed"
