#!/usr/bin/env bash
# Five nodes, node 0 leads and dies; another one leads, in a higher term.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
story "the leader of five nodes dies" -n 5 --leader 0
node0_leads
before=$(term 0)

testnet kill 0
say "node0 is dead"
testnet wait --new-leader 0
now=$(leader)
[ "$(term "$now")" -gt "$before" ] || fail "term $(term "$now") is not above $before"
say "node$now leads term $(term "$now")"
testnet status
