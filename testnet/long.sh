#!/usr/bin/env bash
# What is too long for `cargo test`, on real processes: the stories, a node that catches up with 100,000 blocks,
# and chaos.
#
#   testnet/long.sh [--minutes M] [--seed S]    30 minutes of chaos unless said, from the time of day
#
# Ends with status 0 if all of it was true and no promise was broken, and if in half an hour or more of chaos enough has
# gone wrong for that to say something; the report of chaos stays here as a page.
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
    (cd "$root" && CARGO_TARGET_DIR=$target cargo build --quiet --release --locked --workspace --bins)
    export QUORATE_BIN_DIR=$target/release
fi
# What is promised of a node that comes back.
export RATE=5000 WITHIN=1000
for story in leader_stop_election leader_stop_election_2 node0_revive node1_revive block_height catch_up; do
    "$here/scenarios/$story.sh"
done

# enough REPORT: whether so much has gone wrong that keeping every promise says something.
enough() {
    awk '
        function least(what, count, wanted) {
            if (count < wanted) { print what ": " count ", and should be " wanted; poor = 1 }
        }
        /^chaos with seed/ { match($0, /[0-9]+ clients/); least("clients", substr($0, RSTART) + 0, 5) }
        /^faults/ { least("faults", $2, 400); kinds = 1; next }
        /^operations/ { least("operations", $2, 100000); kinds = 0 }
        kinds { name = substr($0, 3, 12); sub(/ +$/, "", name); least(name, substr($0, 15) + 0, 10); seen++ }
        END { least("kinds of faults", seen, 13); exit poor }' <<<"$1"
}

# A testnet of its own, whatever runs elsewhere.
status=0
report=$(QUORATE_TESTNET=/dev/null/none "$QUORATE_BIN_DIR/quorate-testnet" chaos \
    --minutes "$minutes" --seed "$seed") || status=$?
printf '%s\n' "$report"
[ "$status" -eq 0 ] || exit "$status"
if [ "${minutes%.*}" -ge 30 ]; then
    enough "$report"
fi
