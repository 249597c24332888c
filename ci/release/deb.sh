#!/usr/bin/env bash
# Builds the Debian package of this machine's architecture into dist/. Build it on the oldest supported Debian release:
# the package needs the libc of the build machine or a newer one.
set -euo pipefail
cd "$(dirname "$0")/../.."

export GIT_CONFIG_GLOBAL=$PWD/ci/gitconfig
dist=${DIST:-$PWD/dist}
tools=${CI_TOOLS:-$PWD/target/ci}
# Cargo.toml names target/ in the assets of the package.
unset CARGO_TARGET_DIR
export SOURCE_DATE_EPOCH RUSTFLAGS
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
RUSTFLAGS="--remap-path-prefix=$PWD=/src --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
cargo install --quiet --locked --root "$tools/cargo" --version 3.8.0 cargo-deb
cargo build --profile dist --locked
cargo run --locked --example man-and-completions -- target/man-and-completions
python3 deploy/sbom.py target/man-and-completions
mkdir -p "$dist"
"$tools/cargo/bin/cargo-deb" deb --no-build --locked --profile dist --output "$dist/"
