#!/usr/bin/env bash
# A learner's whole way through a stage, in a scratch clone: start it, see the first task fail and name its hint, solve two tasks, see
# the next one, reveal the rest, and everything is green.
#
#     bash checklists/course/tests/learner.sh [STAGE]        (08 without it)
#
# COURSE names a built `course` to use; without it cargo builds one.
set -euo pipefail
here=$(cd "$(dirname "$0")/../../.." && pwd)
stage=${1:-08}
# Not the checkout's own: cargo would take what it has built of the clone for what it would build of the checkout.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$here/target}/learner CARGO_TERM_COLOR=never
clone=$(mktemp -d)
trap 'rm -rf "$clone"' EXIT
git clone -q "$here" "$clone/course"
cd "$clone/course"
git config user.name Learner && git config user.email learner@example.org
folder=$(echo stages/"$stage"-*)
mapfile -t sources < <(sed -n 's/^sources = //p' "$folder/hints.toml" | grep -o '[^]" ,[]*' || true)
mapfile -t tasks < <(sed -n 's/^name = "\(.*\)"/\1/p' "$folder/hints.toml")

course() { if [ -n "${COURSE:-}" ]; then "$COURSE" "$@"; else cargo course "$@"; fi; }
fail() { echo "learner: $1" >&2; exit 1; }
says() { grep -qF -- "$2" <<<"$1" || fail "expected \"$2\" in: $1"; }

# The stage's own tests, which stop at the first unfinished task.
stops_at() {
    if output=$(cargo test --locked -p "stage-$stage" 2>&1); then fail "all is green with $1 unsolved"; fi
    says "$output" "not yet implemented: task $stage/$1: cargo course hint $stage $1"
    echo "stops at $1"
}

# Copies the reference of a task by hand, as a learner would type it.
solve() {
    local file body
    file=$(grep -rl "ANCHOR: solve-$1\$" "$folder/src" "${sources[@]}")
    body=$(git show "main:$file" | sed -n "/ANCHOR: solve-$1\$/,/ANCHOR_END: solve-$1\$/p" | sed '1d;$d')
    BODY=$body awk -v task="$1" '
        $0 ~ "ANCHOR_END: solve-" task "$" { inside = 0 }
        !inside { print }
        $0 ~ "ANCHOR: solve-" task "$" { inside = 1; print ENVIRON["BODY"] }' "$file" >"$clone/solved"
    cp "$clone/solved" "$file"
}

git switch -q -c main-copy && git branch -f main HEAD && git switch -q main
if refusal=$(course start "$stage" 2>&1); then fail "it blanks the main branch"; fi
says "$refusal" "git switch -c learn"
git switch -q -c learn
says "$(course start "$stage")" "cargo test -p stage-$stage"
git commit -qam "Begin stage $stage"

stops_at "${tasks[0]}"
says "$(course next)" "$stage/${tasks[0]}"
says "$(course hint "$stage" "${tasks[0]}")" "hint 1 of"
says "$(course hint "$stage" "${tasks[0]}")" "hint 2 of"
for task in "${tasks[@]:0:2}"; do
    solve "$task"
    says "$(course diff "$stage" "$task")" "letter for letter"
done
stops_at "${tasks[2]}"
says "$(course next)" "$stage/${tasks[2]}"
git commit -qam "Solve two tasks"
for task in "${tasks[@]:2}"; do course reveal "$stage" "$task" >/dev/null; done
cargo test --quiet --locked -p "stage-$stage" >/dev/null
says "$(course next)" "no task is blank"
says "$(course status)" "${#tasks[@]}/${#tasks[@]} ($((${#tasks[@]} - 2)) seen)"
git diff --quiet main -- stages kernels || fail "the solved stage is not the reference"
echo "stage $stage: ${#tasks[@]} tasks, all green"
