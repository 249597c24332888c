#!/usr/bin/env python3
"""Builds the multi-architecture container image as an OCI layout, without a container engine.

usage: image.py LAYOUT_DIR ARCHIVE...

The archives are those of ci/release/archive.py for Linux: the image contains the same binaries as the release files.
Contents, user and metadata are those of the Dockerfile. The same archives give the same digests. The CA certificates are
those of CA_FILE (default: /etc/ssl/certs/ca-certificates.crt). To publish the layout:

    skopeo copy --all oci:LAYOUT_DIR docker://REGISTRY/NAME:TAG
"""

import gzip
import hashlib
import json
import os
import re
import sys
import tarfile
from datetime import UTC, datetime
from pathlib import Path

from archive import NAME, pack

URL = "https://github.com/marketing-messages-exporter/marketing-messages-exporter"
CA_PATH = "etc/ssl/certs/ca-certificates.crt"
# Numeric, so that Kubernetes can verify `runAsNonRoot`.
USER = "65532:65532"


class Layout:
    """A folder in the OCI image layout format."""

    def __init__(self, folder):
        self.folder = Path(folder)
        (self.folder / "blobs/sha256").mkdir(parents=True, exist_ok=True)
        (self.folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')

    def add(self, media_type, data):
        """Stores a blob and returns its descriptor."""
        if not isinstance(data, bytes):
            data = json.dumps(data, sort_keys=True, separators=(",", ":")).encode()
        digest = hashlib.sha256(data).hexdigest()
        (self.folder / "blobs/sha256" / digest).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    def write_index(self, descriptors):
        index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": descriptors}
        (self.folder / "index.json").write_text(json.dumps(index, sort_keys=True))


def main():
    folder, *archives = sys.argv[1:]
    epoch = int(os.environ["SOURCE_DATE_EPOCH"])
    revision = os.environ.get("REVISION", "unknown")
    layout = Layout(folder)
    platforms = []
    for path in sorted(archives):
        version, architecture = re.search(rf"{NAME}-(.+)\.linux-(\w+)\.tar\.gz$", path).groups()
        with tarfile.open(path) as archive:
            stem = Path(path).name.removesuffix(".tar.gz")
            binary = archive.extractfile(f"{stem}/{NAME}").read()
            licences = archive.extractfile(f"{stem}/THIRD-PARTY-LICENSES").read()
        labels = {
            "org.opencontainers.image.title": NAME,
            "org.opencontainers.image.description": "Prometheus exporter for Meta's Marketing Messages on Messenger",
            "org.opencontainers.image.licenses": "Apache-2.0",
            "org.opencontainers.image.revision": revision,
            "org.opencontainers.image.version": version,
            "org.opencontainers.image.source": URL,
            "org.opencontainers.image.created": datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        files = {
            NAME: (binary, 0o755),
            f"usr/share/doc/{NAME}/THIRD-PARTY-LICENSES": (licences, 0o644),
            CA_PATH: (Path(os.environ.get("CA_FILE", f"/{CA_PATH}")), 0o644),
        }
        manifest = add_image(layout, architecture, pack(files, epoch), labels)
        platforms.append({**manifest, "platform": {"architecture": architecture, "os": "linux"}})
    annotations = {key: value for key, value in labels.items() if not key.endswith(".title")}
    index = layout.add(
        "application/vnd.oci.image.index.v1+json",
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": platforms,
            "annotations": annotations,
        },
    )
    layout.write_index([{**index, "annotations": {"org.opencontainers.image.ref.name": version}}])
    print(index["digest"])


def add_image(layout, architecture, tar, labels):
    """Stores the image of one architecture, with one layer, and returns the descriptor of its manifest."""
    created = labels["org.opencontainers.image.created"]
    layer = layout.add("application/vnd.oci.image.layer.v1.tar+gzip", gzip.compress(tar, compresslevel=6, mtime=0))
    config = layout.add(
        "application/vnd.oci.image.config.v1+json",
        {
            "architecture": architecture,
            "os": "linux",
            "created": created,
            "config": {
                "User": USER,
                "WorkingDir": f"/etc/{NAME}",
                "ExposedPorts": {"10919/tcp": {}},
                "Entrypoint": [f"/{NAME}"],
                "Labels": labels,
                # Docker reads this extension of the OCI format. Durations are nanoseconds.
                "Healthcheck": {
                    "Test": ["CMD", f"/{NAME}", "healthcheck"],
                    "Interval": 30_000_000_000,
                    "Timeout": 5_000_000_000,
                    "StartPeriod": 10_000_000_000,
                },
            },
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(tar).hexdigest()}"]},
            "history": [{"created": created, "created_by": "ci/release/image.py"}],
        },
    )
    return layout.add(
        "application/vnd.oci.image.manifest.v1+json",
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config,
            "layers": [layer],
        },
    )


main()
