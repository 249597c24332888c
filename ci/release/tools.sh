#!/usr/bin/env bash
# Installs what ci/release/build.sh needs for the targets: the standard library and, for Linux, Zig and cargo-zigbuild
# in a virtual environment below $CI_TOOLS (default: target/ci).
#
#   ci/release/tools.sh x86_64-unknown-linux-musl aarch64-unknown-linux-musl
#
# Zig is a C compiler and linker with musl for every architecture, so that both Linux binaries are built on one machine.
set -euo pipefail
cd "$(dirname "$0")/../.."

tools=${CI_TOOLS:-${CARGO_TARGET_DIR:-$PWD/target}/ci}
if [[ " $* " == *-linux-* ]]; then
  if ! python3 -c 'import ensurepip' 2>/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-venv
  fi
  [[ -x $tools/release/bin/pip ]] || python3 -m venv "$tools/release"
  "$tools/release/bin/pip" install --quiet --disable-pip-version-check --requirement ci/release/requirements.txt
fi
# With -Zbuild-std, the standard library is compiled from its sources.
if [[ -z ${CARGO_UNSTABLE_BUILD_STD:-} ]]; then
  rustup target add "$@"
fi
