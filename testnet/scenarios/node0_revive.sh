#!/usr/bin/env bash
# Node 0 leads and dies, another takes over; node 0 comes back as a follower that knows the new leader.
# With WITHIN, it is not true if that takes more milliseconds.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
story "a leader dies and comes back as a follower" -n 5 --leader 0
node0_leads

testnet kill 0
say "node0 is dead"
testnet wait --new-leader 0
now=$(leader)
say "node$now leads term $(term "$now")"

begin=$(date +%s%3N)
testnet revive 0
testnet wait --leader --equal
took=$(($(date +%s%3N) - begin))
[ "$(role 0)" = follower ] || fail "node0 is no follower but $(role 0)"
[ "$(term 0)" = "$(term "$now")" ] || fail "node0 is in term $(term 0)"
say "node0 is back: a $(role 0) of node$now in term $(term 0), at height $(height 0), $took ms after it was started"
[ "$took" -le "${WITHIN:-$took}" ] || fail "it should be $WITHIN ms"
testnet status
