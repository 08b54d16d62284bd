#!/usr/bin/env bash
# Coverage-guided fuzzing of every harness in the workspace, on the pinned stable toolchain.
#
#   testnet/fuzz.sh --list                  name every harness
#   testnet/fuzz.sh [--minutes M] [NAME…]   run all, or these, M minutes each (2 unless said)
#   testnet/fuzz.sh --replay FILE NAME      run one harness over one input
#
# NAME is a test, or a file without `.rs`, which means every harness in it. The first crash ends the
# run with status 1.
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

minutes=2 replay='' list=false
names=()
while [ $# -gt 0 ]; do
    case $1 in
        --minutes) minutes=${2:?--minutes needs a number} && shift ;;
        --replay) replay=${2:?--replay needs a file} && shift ;;
        --list) list=true ;;
        -*) usage ;;
        *) names+=("$1") ;;
    esac
    shift
done
seconds=$(awk -v minutes="$minutes" 'BEGIN { print int(minutes * 60) }')
[ "$seconds" -gt 0 ] || usage

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

while read -r package file test source <&3; do
    [ -n "$package" ] || continue
    build "$package" "$source"
    if [ -n "$replay" ]; then
        [ -r "$replay" ] || { echo "fuzz: $replay cannot be read" >&2 && exit 2; }
        # An absolute path, because cargo runs a test in the folder of its package.
        fuzz "$package" "$source" "$test" "$(cd "$(dirname "$replay")" && pwd)/$(basename "$replay")"
        continue
    fi
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
done 3<<<"$selected"
