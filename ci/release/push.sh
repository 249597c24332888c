#!/usr/bin/env bash
# Pushes the image layout and the chart in dist/ to the registry, and signs both with the identity of the workflow.
#
#   ci/release/push.sh ghcr.io/OWNER/NAME sha256:…
#
# Log in with skopeo, cosign and helm first.
set -euo pipefail
cd "$(dirname "$0")/../.."

image=$1 digest=$2
dist=${DIST:-dist}
version=$(sed -n '0,/^version = "\(.*\)"$/s//\1/p' Cargo.toml)
skopeo copy --all --preserve-digests "oci:$dist/image:$version" "docker://$image:$version"
cosign sign --yes "$image@$digest"

charts=${image%/*}/charts
pushed=$(helm push "$dist"/chart/*.tgz "oci://$charts" 2>&1)
echo "$pushed"
chart_digest=$(sed -n 's/^Digest: *//p' <<<"$pushed")
cosign sign --yes "$charts/marketing-messages-exporter@$chart_digest"
