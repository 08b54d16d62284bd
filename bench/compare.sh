#!/usr/bin/env bash
# The same load on Quorate and on what others offer for the job, by turns and side by side on this machine: three
# processes each of Quorate, etcd and NATS (a stream of three replicas). Prints the table and the ratios.
#
#   bench/compare.sh [ARGUMENTS]    whatever `quorate bench` takes, such as --seconds 2 --clients 1,256
#
# Installs etcd-server and nats-server by name if they are missing (Debian; asks for root by sudo if need be). NATS does
# not sync its files before it answers, and neither of the two checks signatures.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
case ${1:-} in
    -h | --help) sed -n '/^# /s/^# *//p' "${BASH_SOURCE[0]}" && exit 0 ;;
esac

missing=()
command -v etcd >/dev/null || missing+=(etcd-server)
command -v nats-server >/dev/null || missing+=(nats-server)
if [ ${#missing[@]} -gt 0 ]; then
    command -v apt-get >/dev/null || {
        echo "compare.sh: ${missing[*]} have to be installed, and there is no apt-get" >&2
        exit 3
    }
    asking=()
    [ "$(id -u)" -eq 0 ] || asking=(sudo)
    (
        # What is installed is not started as long as this says so.
        policy=/usr/sbin/policy-rc.d
        if [ ! -e "$policy" ]; then
            trap '"${asking[@]}" rm -f "$policy"' EXIT
            printf '#!/bin/sh\nexit 101\n' | "${asking[@]}" install -m 755 /dev/stdin "$policy"
        fi
        "${asking[@]}" apt-get update -qq >&2
        "${asking[@]}" env DEBIAN_FRONTEND=noninteractive \
            apt-get install -qq -y --no-install-recommends "${missing[@]}" >&2
    )
fi

if [ -z "${QUORATE_BIN_DIR:-}" ]; then
    target=${CARGO_TARGET_DIR:-$root/target}
    (cd "$root" && CARGO_TARGET_DIR=$target cargo build --quiet --release --locked --workspace --bins)
    export QUORATE_BIN_DIR=$target/release
fi
exec "$QUORATE_BIN_DIR/quorate-bench" --with etcd,nats "$@"
