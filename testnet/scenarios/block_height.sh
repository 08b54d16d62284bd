#!/usr/bin/env bash
# A block each 100 ms. Two nodes die and stand still while the others go on; both come back and catch up.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
story "a block each 100 ms, with and without two nodes" -n 5 --leader 0 --block-interval 100ms
node0_leads
testnet wait --height 30 --timeout 60s
say "all nodes have height 30"

# FIELD of block HEIGHT.
of_block() {
    "$QUORATE_BIN_DIR/quorate" block "$2" --output json | sed "s/.*\"$1\":\([0-9]*\).*/\1/"
}

# Ten intervals of one term take a second; blocks are paced by another clock than the one that stamps them, so a
# millisecond is forgiven.
if [ "$(of_block term 15)" = "$(of_block term 25)" ]; then
    span=$((($(of_block time_us 25) - $(of_block time_us 15)) / 1000))
    [ "$span" -ge 999 ] || fail "from height 15 to 25 it took $span ms"
    say "from height 15 to 25 it took $span ms"
fi

testnet kill 0 1
say "node0 and node1 are dead"
testnet wait --new-leader 0
say "node$(leader) leads term $(term "$(leader)")"
gained=$(($(height 2) + 10))
testnet wait --height "$gained" --nodes 2,3,4 --timeout 60s
say "the others have height $(height 2)"
[ "$(height 0)" = - ] || fail "node0 answers"

testnet revive 0 1
gained=$(($(height 2) + 10))
testnet wait --height "$gained" --timeout 60s
say "both are back, and all have height $gained: $(testnet assert same-hash --nodes 0,1,2,3,4)"
testnet status
