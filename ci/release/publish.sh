#!/usr/bin/env bash
# Creates the GitHub release of a tag with the files in dist/. Its text is the section of the version in CHANGELOG.md.
#
#   ci/release/publish.sh v0.2.0
set -euo pipefail
cd "$(dirname "$0")/../.."

tag=$1
notes=$(mktemp)
trap 'rm -f "$notes"' EXIT
awk -v version="${tag#v}" '
  /^## / { inside = index($0, version) > 0; next }
  inside { print }' CHANGELOG.md >"$notes"
[[ -s $notes ]] || { echo "CHANGELOG.md has no section for $tag" >&2; exit 1; }
mapfile -d '' -t files < <(find "${DIST:-dist}" -maxdepth 1 -type f -print0 | sort -z)
gh release create "$tag" --verify-tag --title "$tag" --notes-file "$notes" "${files[@]}"
