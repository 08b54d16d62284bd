#!/usr/bin/env bash
# Coverage-guided fuzzing of every harness in the workspace, on the pinned stable toolchain.
#
#   testnet/fuzz.sh --list                  name every harness
#   testnet/fuzz.sh [--minutes M] [--jobs N] [NAME…]   run all, or these, M minutes each (2 unless
#                                           said), N at once (1 unless said)
#   testnet/fuzz.sh --replay FILE NAME      run one harness over one input
#
# NAME is a test, or a file without `.rs`, which means every harness in it; `outside` means those for what
# clients, peers and strangers can send to a node. The first crash ends the run with status 1.
#
# A harness is a test that calls `bolero::check!()`, in `tests/` or, where it needs what is private,
# in a module of its own under `src/`. Under `cargo test` it tries random inputs; here
# the compiler counts which branches an input takes and libFuzzer, which comes with bolero, hunts
# for new ones. `cargo bolero` would pass the same flags, but to every test binary of a package, and
# those without a harness do not link with them. What it found is kept in `target/fuzz/corpus`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
    sed -n '/^#  /s/^#   *//p' "${BASH_SOURCE[0]}" >&2
    exit 2
}

# One line for each harness: package, file without `.rs`, path of the test, file. The path of a test
# in `src/` begins with its modules.
harnesses() {
    local file package folder modules
    local call='^ *(let [a-z]+ = )?(bolero::)?check![(]'
    while read -r file; do
        folder=${file%/tests/*}
        modules=''
        if [ "$folder" = "$file" ]; then
            folder=${file%%/src/*}
            modules=${file#"$folder"/src/}
            modules=${modules%.rs}
            modules=${modules%/mod}
            modules=${modules//\//::}::
        fi
        package=$(sed -n 's/^name = "\(.*\)"$/\1/p' "$folder/Cargo.toml" | head -n 1)
        awk -v before="$package $(basename "$file" .rs) $modules" -v after="$file" -v call="$call" '
            /^#\[test\]/ { test = 1 }
            test && match($0, /^fn [a-z0-9_]+/) { name = substr($0, 4, RLENGTH - 3); test = 0 }
            name && $0 ~ call { print before name, after; name = "" }
            /^}/ { name = "" }' "$file"
    done < <(git grep -lE --untracked "$call" -- '*/tests/*.rs' '*/src/*.rs')
}

# What is decoded of what comes from outside: requests of clients, and whatever peers say, with all that is in it.
# The others are for what comes from the own disk or from the holder of a receipt.
outside='
fuzz_http_request fuzz_transaction_bytes
traffic::decoders::beat traffic::decoders::forwarded_transactions traffic::decoders::pieces_of_snapshots
fuzz_message_bytes fuzz_mutated_messages fuzz_life_bytes
fuzz_snapshot_ask_bytes fuzz_snapshot_piece_bytes fuzz_state_entry_bytes fuzz_nonces_bytes
fuzz_block_bytes fuzz_signed_header_bytes fuzz_certificate_bytes fuzz_signed_statement_bytes
fuzz_roster_bytes fuzz_roster_change_bytes fuzz_recovery_bytes fuzz_roster_step_bytes
fuzz_genesis_bytes fuzz_mutated_fixtures fuzz_mutated_genesis
'

# Sets the environment and builds one harness, with the checks that a debug build has.
build() {
    export CARGO_PROFILE_FUZZ_INHERITS=release
    export CARGO_PROFILE_FUZZ_LTO=off
    export CARGO_PROFILE_FUZZ_DEBUG_ASSERTIONS=true
    export CARGO_PROFILE_FUZZ_OVERFLOW_CHECKS=true
    export BOLERO_FUZZER=libfuzzer BOLERO_LIBTEST_HARNESS=1
    export RUSTFLAGS="--cfg fuzzing --cfg fuzzing_libfuzzer -Cpasses=sancov-module \
-Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
-Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"
    # With a test in `tests/` cargo makes the programs of its package, too: without libFuzzer, and nobody runs them.
    RUSTFLAGS+=" -Clink-arg=-Wl,--unresolved-symbols=ignore-all"
    # A target, even this machine's own, keeps the flags away from build scripts.
    TARGET=$(rustc -vV | sed -n 's/^host: //p')
    if [ "${TARGET#*-linux-}" != "$TARGET" ]; then
        RUSTFLAGS="$RUSTFLAGS -Cllvm-args=-sanitizer-coverage-stack-depth"
    fi
    harness "$1" "$2" --no-run
}

# harness PACKAGE SOURCE ARGUMENTS…
harness() {
    local target=(--lib)
    case $2 in */tests/*) target=(--test "$(basename "$2" .rs)") ;; esac
    cargo test --locked --target "$TARGET" --target-dir target/fuzz --profile fuzz \
        --package "$1" "${target[@]}" "${@:3}"
}

# fuzz PACKAGE SOURCE TEST LIBFUZZER-ARGUMENTS…
fuzz() {
    BOLERO_TEST_NAME=$3 BOLERO_LIBFUZZER_ARGS="${*:4} -timeout=10" \
        harness "$1" "$2" -- "$3" --exact --nocapture --quiet --test-threads 1
}

# kept_inputs SOURCE TEST: where `cargo test` looks for inputs that it runs each time; bolero
# shortens the name.
kept_inputs() {
    local modules='' name=${2##*::}
    if [ "$name" != "$2" ]; then modules=${2%::*}::; fi
    case $name in test_* | fuzz_*) name=${name:5} ;; esac
    case $name in *_test | *_fuzz) name=${name%?????} ;; esac
    echo "$(dirname "$1")/__fuzz__/${modules//::/__}$name"
}

# crashed PACKAGE SOURCE TEST FOLDER-OF-CRASHES
crashed() {
    local package=$1 source=$2 test=$3 crashes=$4 input kept
    input=$(find "$crashes" -type f | head -n 1)
    kept=$(kept_inputs "$source" "$test")/crashes
    {
        echo
        echo "fuzz: $test of $package failed"
        if [ -n "$input" ]; then
            echo "  once more:       testnet/fuzz.sh --replay $input $test"
            echo "  in cargo test:   mkdir -p $kept && cp $input $kept/"
            echo "                   cargo test -p $package $test"
        fi
    } >&2
    exit 1
}

# hunt PACKAGE FILE TEST SOURCE: one harness, until its time is up or it has crashed.
hunt() {
    local package=$1 file=$2 test=$3 source=$4 corpus crashes directories kept seeds
    echo "fuzz: $test of $package, $seconds s" >&2
    corpus=$PWD/target/fuzz/corpus/$file/${test//::/__}
    crashes=target/fuzz/crashes/$file/${test//::/__}
    rm -rf "$crashes"
    mkdir -p "$corpus" "$crashes"
    directories=$corpus
    for kept in corpus crashes; do
        seeds=$PWD/$(kept_inputs "$source" "$test")/$kept
        if [ -d "$seeds" ]; then directories+=" $seeds"; fi
    done
    # shellcheck disable=SC2086 # several directories, one argument each
    fuzz "$package" "$source" "$test" $directories "-artifact_prefix=$PWD/$crashes/" \
        "-max_total_time=$seconds" "-max_len=65536" ||
        crashed "$package" "$source" "$test" "$crashes"
}

# Those that hunt, each a group of processes of its own.
hunting=()

end() {
    local pid
    for pid in "${hunting[@]}"; do
        kill -- "-$pid" 2>/dev/null || true
    done
}
trap end EXIT

# Waits until fewer than so many hunt. If one has crashed, this ends too, and the others with it.
fewer() {
    local pid left
    while [ "${#hunting[@]}" -ge "$1" ]; do
        left=()
        for pid in "${hunting[@]}"; do
            if kill -0 "$pid" 2>/dev/null; then left+=("$pid"); else wait "$pid" || exit 1; fi
        done
        hunting=("${left[@]}")
        sleep 1
    done
}

minutes=2 jobs=1 replay='' list=false
names=()
while [ $# -gt 0 ]; do
    case $1 in
        --minutes) minutes=${2:?--minutes needs a number} && shift ;;
        --jobs) jobs=${2:?--jobs needs a number} && shift ;;
        --replay) replay=${2:?--replay needs a file} && shift ;;
        --list) list=true ;;
        -*) usage ;;
        # shellcheck disable=SC2206 # one word each
        outside) names+=($outside) ;;
        *) names+=("$1") ;;
    esac
    shift
done
seconds=$(awk -v minutes="$minutes" 'BEGIN { print int(minutes * 60) }')
[ "$seconds" -gt 0 ] && [ "$jobs" -gt 0 ] || usage

all=$(harnesses)
if $list; then
    [ -z "$all" ] || awk '{ print $3, "(" $4 ")" }' <<<"$all"
    exit
fi

selected=$all
if [ ${#names[@]} -gt 0 ]; then
    selected=''
    for name in "${names[@]}"; do
        found=$(awk -v name="$name" '$2 == name || $3 == name || $3 ~ "::" name "$"' <<<"$all")
        [ -n "$found" ] || { echo "fuzz: no harness is called $name; see --list" >&2 && exit 2; }
        selected+=$found$'\n'
    done
fi
[ -n "$selected" ] || { echo "fuzz: there are no harnesses" >&2 && exit 2; }

# All is built before anything is timed.
while read -r package file test source <&3; do
    [ -z "$package" ] || build "$package" "$source"
done 3<<<"$(sort -u -k 1,1 -k 4,4 <<<"$selected")"

while read -r package file test source <&3; do
    [ -n "$package" ] || continue
    if [ -n "$replay" ]; then
        [ -r "$replay" ] || { echo "fuzz: $replay cannot be read" >&2 && exit 2; }
        # An absolute path, because cargo runs a test in the folder of its package.
        fuzz "$package" "$source" "$test" "$(cd "$(dirname "$replay")" && pwd)/$(basename "$replay")"
        continue
    fi
    fewer "$jobs"
    set -m
    hunt "$package" "$file" "$test" "$source" 3<&- &
    hunting+=("$!")
    set +m
done 3<<<"$selected"
fewer 1
