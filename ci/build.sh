#!/usr/bin/env bash
# Makes the release build that the later steps use.
set -euo pipefail

binary=${CARGO_TARGET_DIR:-target}/release/marketing-messages-exporter
revision=$(git rev-parse --short=12 HEAD)

# In CI the working tree is clean, and the `quickstart` step has already built the same commit.
if [[ ${CI:-} == true && -x $binary && -z $(git status --porcelain) ]] &&
  "$binary" --version | grep -q "revision: $revision)"; then
  echo "$binary is already built from revision $revision"
else
  cargo build --release --locked
fi
