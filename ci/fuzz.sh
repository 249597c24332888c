#!/usr/bin/env bash
# Runs every fuzz target for a limited time, by default 15 s each; FUZZ_SECONDS changes it.
#
# The corpora are the seeds. New inputs are not added to them; an input that makes a target crash is in fuzz/artifacts.
# No sanitizer is used, because the exporter's code has no `unsafe`: this way the pinned stable compiler suffices, and
# the targets find panics, endless loops and memory above the limit.
set -euo pipefail

seconds=${FUZZ_SECONDS:-15}
target_dir=${CARGO_TARGET_DIR:-$PWD/target}/fuzz
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Compiling it takes about two minutes; once it is installed, cargo does nothing.
cargo install --quiet --locked --root "${CI_TOOLS:?set CI_TOOLS to the folder of the tools}/cargo" \
  --version 0.13.2 cargo-fuzz
export PATH=$CI_TOOLS/cargo/bin:$PATH CARGO_TARGET_DIR=$target_dir

# The versions of Cargo.lock, so that the fuzzed code is the released code.
[[ -e fuzz/Cargo.lock ]] || cp Cargo.lock fuzz/Cargo.lock
cargo fuzz build --sanitizer none
for target in $(cargo fuzz list); do
  mkdir "$work/$target"
  if ! cargo fuzz run --sanitizer none "$target" "$work/$target" "fuzz/corpus/$target" -- \
    -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 >"$work/log" 2>&1; then
    cat "$work/log"
    exit 1
  fi
  runs=$(sed -nE 's/^stat::number_of_executed_units: *//p' "$work/log")
  seeds=$(find "fuzz/corpus/$target" -type f | wc -l)
  echo "   $target: $runs inputs from $seeds seeds in $seconds s, no crash"
  ((runs > seeds)) || { echo "FAILED $target did not run" >&2; exit 1; }
done
