"""The native probe as a container image: an archive in the layout of the Open Container Initiative.

The image has one file, the program with its request, so no shell and no library. It is made here
without Docker, in the form that `skopeo`, `podman load`, `docker load` and `ctr image import` read:
a tar archive of `oci-layout`, `index.json` and blobs that are named after their SHA-256. Several
architectures are one image: its index has a manifest for each.

Sources: image-layout.md, manifest.md, image-index.md and config.md of the OCI image specification
1.0. The same programs give the same bytes. Pure.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Mapping
from typing import Any

import msgspec

PROGRAM = "fleetaudit-probe"
"""The only file of the image, in its root folder."""
_NAME = "localhost/fleetaudit-probe:latest"
_MEDIA = "application/vnd.oci.image."
_PLATFORMS = {
    "x86_64": {"architecture": "amd64", "os": "linux"},
    "aarch64": {"architecture": "arm64", "os": "linux"},
    "armv7": {"architecture": "arm", "os": "linux", "variant": "v7"},
    "riscv64": {"architecture": "riscv64", "os": "linux"},
    "ppc64le": {"architecture": "ppc64le", "os": "linux"},
    "s390x": {"architecture": "s390x", "os": "linux"},
}
"""The platform of each architecture, as the specification (and Go) names it."""

_Descriptor = dict[str, Any]


class _Blobs:
    """The blobs of an image, by their digests."""

    def __init__(self) -> None:
        self.by_digest = dict[str, bytes]()

    def add(self, media: str, data: bytes) -> _Descriptor:
        """Adds a blob; returns its descriptor."""
        digest = hashlib.sha256(data).hexdigest()
        self.by_digest[digest] = data
        return {"mediaType": _MEDIA + media, "digest": f"sha256:{digest}", "size": len(data)}


def image_archive(programs: Mapping[str, bytes]) -> bytes:
    """Returns the archive of an image, a tar file.

    `programs` has the whole program for each architecture of the image.
    """
    blobs = _Blobs()
    manifests = [_add_platform(blobs, name, program) for name, program in programs.items()]
    image = manifests[0]
    if len(manifests) > 1:
        index = {"schemaVersion": 2, "mediaType": f"{_MEDIA}index.v1+json", "manifests": manifests}
        image = blobs.add("index.v1+json", _json(index))
    names = {"org.opencontainers.image.ref.name": "latest", "io.containerd.image.name": _NAME}
    top = {"schemaVersion": 2, "manifests": [{**image, "annotations": names}]}
    files = {"oci-layout": _json({"imageLayoutVersion": "1.0.0"}), "index.json": _json(top)}
    for digest, data in blobs.by_digest.items():
        files[f"blobs/sha256/{digest}"] = data
    return _tar(files, 0o644)


def _add_platform(blobs: _Blobs, architecture: str, program: bytes) -> _Descriptor:
    """Adds the layer, the configuration and the manifest of one architecture; returns the
    descriptor of the manifest.
    """
    layer = blobs.add("layer.v1.tar", _tar({PROGRAM: program}, 0o755))
    platform = _PLATFORMS[architecture]
    config = {
        **platform,
        "config": {"Entrypoint": [f"/{PROGRAM}"], "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
        "history": [{"created_by": "fleetaudit probe --image"}],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{_MEDIA}manifest.v1+json",
        "config": blobs.add("config.v1+json", _json(config)),
        "layers": [layer],
    }
    return {**blobs.add("manifest.v1+json", _json(manifest)), "platform": platform}


def _json(value: object) -> bytes:
    """Returns a value as JSON."""
    return msgspec.json.encode(value)


def _tar(files: Mapping[str, bytes], mode: int) -> bytes:
    """Returns a tar archive of files of root, with no time in it."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), mode
            tar.addfile(entry, io.BytesIO(data))
    return archive.getvalue()
