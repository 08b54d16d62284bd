#!/usr/bin/env bash
# A node misses many blocks (BLOCKS, 100,000 unless said), comes back and catches up while the others go on.
# With RATE, it is not true if it is slower than so many blocks in a second.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
blocks=${BLOCKS:-100000}
story "a node that missed $blocks blocks catches up" -n 3 --leader 0 --block-interval 1ms
node0_leads

now() { date +%s%3N; }

low=$(height 2)
testnet kill 2
begin=$(now)
before=$(height 0)
testnet wait --height $((before + blocks)) --nodes 0,1 --timeout 3600s
took=$(($(now) - begin))
say "node2 is dead; after $took ms the others have $blocks blocks more, $((blocks * 1000 / (took + 1))) in a second"

begin=$(now)
testnet revive 2
goal=$(height 0)
testnet wait --height "$goal" --nodes 2 --timeout 3600s
took=$(($(now) - begin))
[ "$((goal - low))" -ge "$blocks" ] || fail "it missed $((goal - low)) blocks only"
rate=$(((goal - low) * 1000 / (took + 1)))
say "node2 had height $low and has $goal, $took ms after it was started: $rate blocks in a second"
[ "$rate" -ge "${RATE:-0}" ] || fail "it should be $RATE in a second"
[ "$(height 0)" -gt "$goal" ] || fail "the others did not go on"
say "meanwhile the others went on to $(height 0)"
testnet wait --height $(($(height 0) + 10)) --timeout 60s
say "all have the same block: $(testnet assert same-hash --nodes 0,1,2)"
