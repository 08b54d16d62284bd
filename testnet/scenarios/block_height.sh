#!/usr/bin/env bash
# A block each 100 ms. Two nodes die and stand still while the others go on; both come back and catch up.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
story "a block each 100 ms, with and without two nodes" -n 5 --leader 0 --block-interval 100ms
node0_leads
testnet wait --height 30 --timeout 60s
say "all nodes have height 30"

# FIELD of block HEIGHT: the first one of that name is the block's own.
of_block() {
    "$QUORATE_BIN_DIR/quorate" block "$2" --output json | grep -o "\"$1\":[0-9]*" | head -n 1 | cut -d : -f 2
}

# Ten intervals of one term take a second; blocks are paced by another clock than the one that stamps them, so a
# millisecond is forgiven. Leaders may change meanwhile: some ten are of one term, or it is no good to go on.
spans=0
for from in $(seq 2 20); do
    to=$((from + 10))
    [ "$(of_block term "$from")" = "$(of_block term "$to")" ] || continue
    span=$((($(of_block time_us "$to") - $(of_block time_us "$from")) / 1000))
    [ "$span" -ge 999 ] || fail "from height $from to $to it took $span ms"
    spans=$((spans + 1))
done
[ "$spans" -gt 0 ] || fail "no ten blocks in a row are of one term"
say "$spans times, ten blocks of one term took a second or more"

testnet kill 0 1
say "node0 and node1 are dead"
testnet wait --new-leader 0
say "node$(leader) leads term $(term "$(leader)")"
gained=$(($(height 2) + 10))
testnet wait --height "$gained" --nodes 2,3,4 --timeout 60s
say "the others have height $(height 2)"
for dead in 0 1; do
    [ "$(height "$dead")" = - ] || fail "node$dead answers"
done

testnet revive 0 1
gained=$(($(height 2) + 10))
testnet wait --height "$gained" --timeout 60s
say "both are back, and all have height $gained: $(testnet assert same-hash --nodes 0,1,2,3,4)"
testnet status
