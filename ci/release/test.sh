#!/usr/bin/env bash
# Tests the binary in the archive of a target: it is static (Linux), prints version and revision, accepts the example
# config, and exports the campaigns of the demo. Binaries of another architecture run under QEMU.
#
#   ci/release/test.sh aarch64-unknown-linux-musl
set -euo pipefail
cd "$(dirname "$0")/../.."

target=$1
dist=${DIST:-$PWD/dist}
work=$(mktemp -d)
pid=
trap '[[ -z $pid ]] || kill "$pid" || true; rm -rf "$work"' EXIT
fail() { echo "FAILED $*" >&2; exit 1; }

case $target in
  x86_64-unknown-linux-musl) platform=linux-amd64 ;;
  aarch64-unknown-linux-musl) platform=linux-arm64 ;;
  x86_64-apple-darwin) platform=darwin-amd64 ;;
  aarch64-apple-darwin) platform=darwin-arm64 ;;
  *) fail "unknown target $target" ;;
esac
tar -xzf "$dist"/marketing-messages-exporter-*."$platform".tar.gz -C "$work" --strip-components=1
binary=$work/marketing-messages-exporter
runner=()
if [[ $platform == linux-arm64 && $(uname -m) != aarch64 ]]; then runner=(qemu-aarch64-static); fi
exporter() { "${runner[@]+"${runner[@]}"}" "$binary" "$@"; }

if [[ $platform == linux-* ]]; then
  # An interpreter is the dynamic loader; a static binary has none.
  [[ $(LC_ALL=C readelf --program-headers --wide "$binary") != *INTERP* ]] || fail "the binary is not static"
fi
version=$(exporter --version | tr '\n' ' ')
[[ $version == *"$(git rev-parse --short=12 HEAD)"* ]] || fail "--version without the revision: $version"
exporter check --config.file="$work/config.example.yaml" >/dev/null || fail "check rejects the example config"

exporter demo --web.listen-address=127.0.0.1:0 >"$work/demo.out" 2>"$work/demo.err" &
pid=$!
for _ in $(seq 60); do
  url=$(sed -n 's/^exporter=//p' "$work/demo.out")
  if [[ -n $url ]] && curl -sS --noproxy '*' --output "$work/page" "${url}metrics" &&
    grep -q '^marketing_messages_spend{' "$work/page"; then
    echo "   $platform: $version"
    exit 0
  fi
  sleep 1
done
cat "$work"/demo.* >&2
fail "no campaigns of the demo after 60 s"
