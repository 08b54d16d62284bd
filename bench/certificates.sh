#!/usr/bin/env bash
# What certificates cost: the last commit as it is, and with `without_certificates.patch`, by turns under the same load.
#
#   bench/certificates.sh [ARGUMENTS]    arguments of `quorate bench` besides --work, --clients, --repeat and --output,
#                                        such as --seconds 20, which is 10 without any
#
# Both are built in a copy of the last commit under `target/certificates`, which both share, so that the second time only
# what the patch touches is built. Each measurement has a group of its own. TURNS says how many turns there are
# (3). Prints every figure, and then the middle ones side by side.
set -euo pipefail
case ${1:-} in
    -h | --help) sed -n '2,/^set /s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" && exit 0 ;;
esac
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
place=$root/target/certificates
tree=$place/tree
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$place/build}
turns=${TURNS:-3}
# Batches by 256 clients take a second each: less time would be a handful of them.
[ $# -gt 0 ] || set -- --seconds 10

# The copy holds exactly the last commit; only files that differ get a new date.
fresh_tree() {
    if [ ! -d "$tree/.git" ]; then
        mkdir -p "$place"
        git clone -q --shared --no-checkout "$root" "$tree"
    fi
    git -C "$tree" fetch -q "$root" HEAD
    git -C "$tree" checkout -qf FETCH_HEAD
}

# Builds the copy; its programs go to a folder of this name.
build() {
    local program
    (cd "$tree" && cargo build --quiet --release --locked \
        --package quorate-node --package quorate-testnet --package quorate-bench --bins)
    mkdir -p "$place/$1"
    for program in quorate quorate-testnet quorate-bench; do
        install "$CARGO_TARGET_DIR/release/$program" "$place/$1/"
    done
}

# One turn: the load on one of the two. The program that measures is the same for both.
measure() {
    local which=$1
    shift
    echo "$which certificates" >&2
    QUORATE_BIN_DIR=$place/$which "$place/with/quorate-bench" --repeat 1 --rates 1 "$@" |
        grep '^quorate.* [0-9]' | grep -v ' due ' | tee -a "$place/$which.txt"
}

# What is in the middle of all turns, and what certificates cost. Columns are counted from the end: a name may have blanks.
compared() {
    awk '
        function middle(all, count,  at, back, one) {
            for (at = 2; at <= count; at++) {
                one = all[at]
                for (back = at - 1; back > 0 && all[back] > one; back--) all[back + 1] = all[back]
                all[back + 1] = one
            }
            return all[int((count + 1) / 2)]
        }
        function of(which, load, column,  all, at) {
            for (at = 1; at <= seen[which, load]; at++) all[at] = figure[which, load, column, at]
            return middle(all, seen[which, load])
        }
        function line(name, load, column, digits,  with, without, cost) {
            with = of(1, load, column)
            without = of(2, load, column)
            cost = column == "rate" ? 1 - with / without : with / without - 1
            printf "%-48s %10.*f %10.*f %8.1f %%\n", name, digits, with, digits, without, 100 * cost
        }
        FNR == 1 { which++ }
        {
            load = $2 " " $(NF - 10)
            at = ++seen[which, load]
            figure[which, load, "rate", at] = $(NF - 9)
            figure[which, load, "p50", at] = $(NF - 6)
            figure[which, load, "cpu", at] = $(NF - 3)
        }
        END {
            printf "\n%-48s %10s %10s %10s\n", "", "with", "without", "cost"
            line("writes by 256 clients, a second (goal: 5 %)", "writes 256", "rate", 0)
            line("   each in µs of a processor", "writes 256", "cpu", 1)
            line("batches by 256 clients, a second (goal: 5 %)", "batches 256", "rate", 0)
            line("   each in µs of a processor", "batches 256", "cpu", 1)
            line("one client, p50 in ms (goal: 20 %)", "writes 1", "p50", 2)
        }
    ' "$place/with.txt" "$place/without.txt"
}

fresh_tree
build with
git -C "$tree" apply "$root/bench/without_certificates.patch"
build without
git -C "$tree" apply -R "$root/bench/without_certificates.patch"

rm -f "$place/with.txt" "$place/without.txt"
for _ in $(seq "$turns"); do
    for which in with without; do
        measure "$which" --work writes --clients 1,256 "$@"
        measure "$which" --work batches --clients 256 "$@"
    done
done
compared
