#!/usr/bin/env bash
# Runs the soak tests: polls with random injected faults for some minutes, then checks every exported value.
#
#   ci/soak.sh                                  two and a half minutes, a new seed each time
#   SOAK_SECONDS=3600 SOAK_SEED=7 ci/soak.sh    an hour, with the faults of seed 7
set -euo pipefail
cd "$(dirname "$0")/.."

export SOAK_SECONDS=${SOAK_SECONDS:-150} SOAK_SEED=${SOAK_SEED:-$(date +%s)}
# Printed first, so that a run that hangs or crashes can be repeated with the same seed.
echo "   SOAK_SECONDS=$SOAK_SECONDS SOAK_SEED=$SOAK_SEED"
cargo test --locked --test it -- --nocapture --test-threads=1 reliability::soak::
