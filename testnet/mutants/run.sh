#!/usr/bin/env bash
# Do the checks bite? Plants one bug at a time and waits for something to catch it.
#
#   testnet/mutants/run.sh              every mutant
#   testnet/mutants/run.sh 07 12        these
#   testnet/mutants/run.sh --tests …    without the simulator: what no test catches lives
#   testnet/mutants/run.sh --chaos …    by chaos on real processes alone, three times two minutes
#   testnet/mutants/run.sh --list       name them
#
# A mutant is a patch in this folder. The lines above its diff say what is wrong with it, which tests
# have to look (`Tests:`, whole packages of the workspace, in order) and which seeds (`Seeds: none`
# where no life of a group could show it). It is planted in a copy of the last commit under
# `target/mutants`, which all mutants share, so only what it touches is built anew. Golden scripts
# and paper tests come first, then the rest of the tests named, then two-minute lives in the
# simulator, at most 2,000, up to the first catch.
#
# Ends with status 1 if a mutant lives, and with 2 if one cannot be planted or does not build.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
root=$PWD
tree=$root/target/mutants/tree
export CARGO_TARGET_DIR=$root/target/mutants/build
# One profile for tests and lives: optimised enough for both, quick enough to build.
export CARGO_PROFILE_DEV_OPT_LEVEL=2 CARGO_PROFILE_DEV_DEBUG=0
seeds=${SEEDS:-2000}

field() {
    sed -n "/^diff /q;s/^$2: *//p" "$1" | head -n 1
}

title() {
    head -n 1 "$1"
}

# The copy holds exactly the last commit; only files that differ get a new date.
fresh_tree() {
    if [ ! -d "$tree/.git" ]; then
        mkdir -p "$(dirname "$tree")"
        git clone -q --shared --no-checkout "$root" "$tree"
    fi
    git -C "$tree" fetch -q "$root" HEAD
    git -C "$tree" checkout -qf FETCH_HEAD
}

# Runs a stage in the copy; what it printed is kept. What takes too long has neither failed nor passed.
stage() {
    local log=$root/target/mutants/$number.log status=0
    (cd "$tree" && timeout "$limit" "$@") >"$log" 2>&1 || status=$?
    if [ "$status" -eq 124 ]; then
        late=yes
        return 0
    fi
    return "$status"
}

# Builds what is about to look, and nothing that only a later stage needs: what does not build catches nothing.
build() {
    local before=$late
    late=no
    if ! stage cargo "$@" || [ "$late" = yes ]; then
        is_broken=yes
        return 1
    fi
    late=$before
}

# Lets these tests look, which are `cargo test`'s arguments. Succeeds if they fail.
fails() {
    build test -q --locked --no-run "$@" || return 1
    ! stage cargo test -q --locked "$@"
}

# Succeeds, with the catcher's name in $caught, as soon as something fails.
is_caught() {
    local package
    late=no is_broken=no
    if [ "$chaos" = yes ]; then
        build build -q --locked -p quorate-node -p quorate-testnet --bins && is_caught_by_chaos
        return
    fi
    for package in $(field "$patch" Tests); do
        if [ "$package" = consensus ]; then
            caught='golden scripts'
            fails -p quorate-consensus --test scripts && return 0
            caught='paper tests'
            fails -p quorate-consensus --test 'paper_*' && return 0
        fi
        caught="tests of $package"
        fails -p "quorate-$package" && return 0
        [ "$is_broken" = no ] || return 1
    done
    [ "$simulate" = yes ] && [ "$(field "$patch" Seeds)" != none ] || return 1
    caught='the simulator'
    build build -q --locked -p quorate-sim || return 1
    limit=5400 stage cargo run -q --locked -p quorate-sim -- \
        --seeds "$seeds" --minutes 2 --no-shrink --stop-at-first-failure || return 0
    return 1
}

# Succeeds, with what it saw in $caught, as soon as chaos says that a promise was broken.
is_caught_by_chaos() {
    local seed status
    for seed in 1 2 3; do
        status=0
        QUORATE_TESTNET=/dev/null/none QUORATE_BIN_DIR=$CARGO_TARGET_DIR/debug \
            stage "$CARGO_TARGET_DIR/debug/quorate-testnet" chaos --minutes 2 --seed "$seed" \
            --report "$root/target/mutants/$number.html" || status=$?
        if [ "$status" -eq 8 ]; then
            caught="chaos with seed $seed ($(sed -n '/VIOLATIONS$/{n;p;}' "$root/target/mutants/$number.log" | cut -c3-100))"
            return 0
        elif [ "$status" -ne 0 ]; then
            late=yes
            return 1
        fi
    done
    return 1
}

simulate=yes chaos=no limit=1800
case ${1:-} in
    --tests) simulate=no && shift ;;
    --chaos) chaos=yes && shift ;;
esac
chosen=()
for patch in testnet/mutants/*.patch; do
    name=$(basename "$patch")
    if [ "${1:-}" = --list ]; then
        printf '%s  %s\n' "${name%%_*}" "$(title "$patch")"
    elif [ $# -eq 0 ] || [[ " $* " == *" ${name%%_*} "* ]]; then
        chosen+=("$patch")
    fi
done
[ "${1:-}" != --list ] || exit 0
[ ${#chosen[@]} -gt 0 ] || { echo "no mutant is called $*: see --list" >&2; exit 2; }

alive=0 broken=0
fresh_tree
for patch in "${chosen[@]}"; do
    number=$(basename "$patch")
    number=${number%%_*}
    begin=$SECONDS
    if ! git -C "$tree" apply "$root/$patch"; then
        echo "$number  cannot be planted: $(title "$patch")"
        broken=$((broken + 1))
        continue
    fi
    if is_caught; then
        echo "$number  caught by $caught in $((SECONDS - begin)) s: $(title "$patch")"
    elif [ "$is_broken" = yes ]; then
        echo "$number  does not build: $(title "$patch"); see target/mutants/$number.log"
        broken=$((broken + 1))
    elif [ "$late" = yes ]; then
        echo "$number  could not be tried to the end in $((SECONDS - begin)) s: $(title "$patch")"
        broken=$((broken + 1))
    else
        echo "$number  LIVES after $((SECONDS - begin)) s: $(title "$patch")"
        alive=$((alive + 1))
    fi
    git -C "$tree" apply -R "$root/$patch"
done
echo "${#chosen[@]} mutants: $alive live, $broken could not be tried"
[ "$broken" -eq 0 ] || exit 2
[ "$alive" -eq 0 ] || exit 1
