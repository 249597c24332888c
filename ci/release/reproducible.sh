#!/usr/bin/env bash
# Builds a target twice, in two folders and with two values of CARGO_HOME, and compares the archives. Takes two release
# builds. Run ci/release/tools.sh first.
#
#   ci/release/reproducible.sh x86_64-unknown-linux-musl
set -euo pipefail
cd "$(dirname "$0")/../.."

target=$1
export GIT_CONFIG_GLOBAL=$PWD/ci/gitconfig
export CI_TOOLS=${CI_TOOLS:-${CARGO_TARGET_DIR:-$PWD/target}/ci}
# The toolchains are in RUSTUP_HOME; its proxies in the original CARGO_HOME/bin stay in PATH.
export RUSTUP_HOME=${RUSTUP_HOME:-$HOME/.rustup}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for build in one another-path/two; do
  git clone --quiet "$PWD" "$work/$build"
  env CARGO_HOME="$work/$build-cargo" CARGO_TARGET_DIR="$work/$build-target" DIST="$work/$build-dist" \
    "$work/$build/ci/release/build.sh" "$target"
done
(cd "$work/one-dist" && sha256sum ./*) | tee "$work/sums"
(cd "$work/another-path/two-dist" && sha256sum --check --quiet "$work/sums")
echo "   both builds of $target are identical"
