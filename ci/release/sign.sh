#!/usr/bin/env bash
# Signs the files in dist/ with the identity of the workflow: one bundle FILE.sigstore.json per file.
set -euo pipefail
cd "$(dirname "$0")/../.."

cd "${DIST:-dist}"
while IFS= read -r file; do
  cosign sign-blob --yes --bundle "$file.sigstore.json" "$file"
done < <(find . -maxdepth 1 -type f ! -name '*.sigstore.json' -printf '%f\n' | sort)
