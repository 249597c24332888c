#!/usr/bin/env bash
# Builds the image of both Linux architectures in dist/ as an OCI layout in dist/image, and prints its digest.
set -euo pipefail
cd "$(dirname "$0")/../.."

dist=${DIST:-$PWD/dist}
export REVISION SOURCE_DATE_EPOCH
REVISION=$(git rev-parse HEAD)
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
rm -rf "$dist/image"
python3 ci/release/image.py "$dist/image" "$dist"/*.linux-amd64.tar.gz "$dist"/*.linux-arm64.tar.gz
