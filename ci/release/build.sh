#!/usr/bin/env bash
# Builds the release binary of a target and packs it, with its licences and bill of materials, into dist/.
#
#   ci/release/build.sh x86_64-unknown-linux-musl
#
# The result depends only on the commit and the compiler: paths are replaced with fixed names, and dates are that of the
# commit. Run ci/release/tools.sh first.
set -euo pipefail
cd "$(dirname "$0")/../.."

target=$1
name=marketing-messages-exporter
tools=${CI_TOOLS:-${CARGO_TARGET_DIR:-$PWD/target}/ci}
target_dir=${CARGO_TARGET_DIR:-$PWD/target}
dist=${DIST:-$PWD/dist}

export PATH=$tools/release/bin:$PATH
export REVISION SOURCE_DATE_EPOCH
REVISION=$(git rev-parse --short=12 HEAD)
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
cargo_home=${CARGO_HOME:-$HOME/.cargo}
sysroot=$(rustc --print sysroot)
remap=("$PWD=/src" "$cargo_home=/cargo" "$sysroot=/rust")
for prefix in "${remap[@]}"; do
  RUSTFLAGS="${RUSTFLAGS:-} --remap-path-prefix=$prefix"
  CFLAGS="${CFLAGS:-} -ffile-prefix-map=$prefix"
done
export RUSTFLAGS CFLAGS

case $target in
  *-linux-musl) subcommand=zigbuild ;;
  *) subcommand=build ;;
esac
cargo "$subcommand" --profile dist --locked --target "$target" --bin "$name"
binary=$target_dir/$target/dist/$name

mkdir -p "$dist"
python3 deploy/sbom.py "$target_dir/$target/release-files" "$target"
python3 ci/release/archive.py "$target" "$binary" "$target_dir/$target/release-files" "$dist"
