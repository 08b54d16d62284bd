#!/usr/bin/env bash
# Three of five nodes want to lead. The first leader dies, then the second; the third leads.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
story "two leaders die, and the third that wants to leads" -n 5 --leader 0 --eligible 0,1,2
node0_leads

wants_to() {
    case $1 in [0-2]) ;; *) fail "node$1 leads and does not want to" ;; esac
}

testnet kill 0
say "node0 is dead"
testnet wait --new-leader 0
second=$(leader)
between=$(term "$second")
wants_to "$second"
say "node$second leads term $between"

testnet kill "$second"
say "node$second is dead"
testnet wait --new-leader "$second"
third=$(leader)
wants_to "$third"
[ "$(term "$third")" -gt "$between" ] || fail "term $(term "$third") is not above $between"
say "node$third leads term $(term "$third")"
testnet status
