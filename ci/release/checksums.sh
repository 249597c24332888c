#!/usr/bin/env bash
# Writes SHA256SUMS of the files in dist/, and the bill of materials of the image under a fixed name.
set -euo pipefail
cd "$(dirname "$0")/../.."

cd "${DIST:-dist}"
cp ./*.linux-amd64.cdx.json sbom.cdx.json
# SHA256SUMS must not contain itself, so it is written afterwards.
sums=$(find . -maxdepth 1 -type f ! -name SHA256SUMS ! -name '*.sigstore.json' -printf '%f\0' | sort -z |
  xargs -0 sha256sum)
tee SHA256SUMS <<<"$sums"
