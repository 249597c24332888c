#!/usr/bin/env python3
"""Packs a release binary into an archive, with the same bytes for the same content.

usage: archive.py TARGET BINARY FILES_DIR DIST_DIR

Writes NAME-VERSION.OS-ARCH.tar.gz, named like the archives of Prometheus, and NAME-VERSION.OS-ARCH.cdx.json, the SBOM.
FILES_DIR contains what deploy/sbom.py wrote. All dates are SOURCE_DATE_EPOCH.
"""

import gzip
import io
import os
import shutil
import sys
import tarfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
NAME = "marketing-messages-exporter"
# Names of operating systems and architectures as in Go, which users of Prometheus expect.
PLATFORMS = {
    "x86_64-unknown-linux-musl": "linux-amd64",
    "aarch64-unknown-linux-musl": "linux-arm64",
    "x86_64-apple-darwin": "darwin-amd64",
    "aarch64-apple-darwin": "darwin-arm64",
}


def main():
    target, binary, files_dir, dist_dir = sys.argv[1:]
    epoch = int(os.environ["SOURCE_DATE_EPOCH"])
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]
    stem = f"{NAME}-{version}.{PLATFORMS[target]}"
    files = {
        NAME: (Path(binary), 0o755),
        "LICENSE": (ROOT / "LICENSE", 0o644),
        "THIRD-PARTY-LICENSES": (Path(files_dir) / "THIRD-PARTY-LICENSES", 0o644),
        "config.example.yaml": (ROOT / "config.example.yaml", 0o644),
    }
    path = Path(dist_dir) / f"{stem}.tar.gz"
    path.write_bytes(gzip.compress(pack(files, epoch, prefix=f"{stem}/"), compresslevel=6, mtime=epoch))
    shutil.copyfile(Path(files_dir) / "bom.cdx.json", Path(dist_dir) / f"{stem}.cdx.json")
    print(f"{path}: {path.stat().st_size} bytes")


def pack(files, epoch, prefix=""):
    """Returns a tar archive of the files: name to source path (or bytes) and mode. Owner and group are root."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, (source, mode) in sorted(files.items()):
            data = source if isinstance(source, bytes) else source.read_bytes()
            info = tarfile.TarInfo(prefix + name)
            info.size, info.mode, info.mtime = len(data), mode, epoch
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


if __name__ == "__main__":
    main()
