#!/usr/bin/env bash
# Nodes 0 and 1 die, and the others see that; both come back, and all see all, at one height with one hash.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
story "two nodes die and come back, and all see it" -n 5 --leader 0
node0_leads

# Waits until a node takes exactly these others for alive.
until_sees() {
    for _ in $(seq 600); do
        if [ "$(sees "$1")" = "$2" ]; then
            say "node$1 sees $2"
            return
        fi
        sleep 0.1
    done
    fail "node$1 sees $(sees "$1") and not $2"
}

testnet kill 0 1
say "node0 and node1 are dead"
testnet wait --new-leader 0
until_sees 2 3,4
until_sees 3 2,4
until_sees 4 2,3

testnet revive 0 1
say "node0 and node1 are back"
until_sees 0 1,2,3,4
until_sees 1 0,2,3,4
until_sees 2 0,1,3,4
until_sees 3 0,1,2,4
until_sees 4 0,1,2,3
testnet wait --leader --equal
say "all have the same block: $(testnet assert same-hash --nodes 0,1,2,3,4)"
testnet status
