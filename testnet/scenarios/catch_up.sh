#!/usr/bin/env bash
# A node misses many blocks (BLOCKS, 100,000 unless said), comes back and catches up while the others go on.
# With RATE, it is not true if it is slower than so many blocks in a second. With BATCHES, the blocks that it misses are those of
# batches of a hundred transactions by 64 clients for so many seconds, and RATE is that of transactions.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
blocks=${BLOCKS:-100000} batches=${BATCHES:-0}
missing="$blocks blocks"
[ "$batches" -eq 0 ] || { blocks=10 missing="$batches seconds of batches"; }
story "a node that missed $missing catches up" -n 3 --leader 0 --block-interval 1ms
node0_leads

now() { date +%s%3N; }

# Where a node answers.
api() { grep -o 'http://[^"]*' "$QUORATE_TESTNET/genesis.json" | sed -n "$(($1 + 1))s|http://||p"; }

# How many transactions a node has applied since it was started.
transactions() {
    local at
    at=$(api "$1")
    {
        printf 'GET /metrics HTTP/1.0\r\n\r\n' >&3
        awk '/^quorate_transactions_total/ { sum += $2 } END { printf "%d", sum }' <&3
    } 3<>"/dev/tcp/${at%:*}/${at##*:}"
}

low=$(height 2)
had=$(transactions 0)
testnet kill 2
begin=$(now)
before=$(height 0)
if [ "$batches" -gt 0 ]; then
    "$QUORATE_BIN_DIR/quorate-bench" --nodes "http://$(api 0)" --work batches --clients 64 --seconds "$batches" --repeat 1
fi
testnet wait --height $((before + blocks)) --nodes 0,1 --timeout 3600s
took=$(($(now) - begin))
more=$(($(height 0) - before))
say "node2 is dead; after $took ms the others have $more blocks more, $((more * 1000 / (took + 1))) in a second"

missed=$(($(transactions 0) - had))
begin=$(now)
testnet revive 2
goal=$(height 0)
testnet wait --height "$goal" --nodes 2 --timeout 3600s
took=$(($(now) - begin))
[ "$((goal - low))" -ge "$blocks" ] || fail "it missed $((goal - low)) blocks only"
rate=$(((goal - low) * 1000 / (took + 1)))
say "node2 had height $low and has $goal, $took ms after it was started: $rate blocks in a second"
if [ "$batches" -gt 0 ]; then
    rate=$((missed * 1000 / (took + 1)))
    say "it missed $missed transactions: $rate in a second"
fi
[ "$rate" -ge "${RATE:-0}" ] || fail "it should be $RATE in a second"
testnet wait --height $((goal + 1)) --nodes 0 --timeout 60s
say "meanwhile the others went on to $(height 0)"
testnet wait --height $(($(height 0) + 10)) --timeout 60s
say "all have the same block: $(testnet assert same-hash --nodes 0,1,2)"
