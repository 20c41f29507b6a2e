"""Store over an OCI image layout: one directory that holds any number of repositories.

Source: OCI image-spec 1.1 "image-layout", "annotations".

What is written to `index.json` is one row per name, its `org.opencontainers.image.ref.name` being

    repository:tag      where a repository is given: blobs are shared by all of them
    tag                 for the repository "", as skopeo, oras and regctl write it
    repository@digest   for a manifest put by digest that no other row or index of the repository
                        names, so that no tool's collection takes it and its referrers are found
    (none)              the same for the repository ""

skopeo and podman read all of them as `oci:PATH:REF-NAME`, oras as `--oci-layout-path PATH REF-NAME`
(and `PATH:tag`, `PATH@digest`), regctl as `ocidir://PATH:tag`, crane by digest. What these write is
read: `HOST:PORT/` before a repository is left out (crane `--annotate-ref`), a tag beside
`io.containerd.image.name` belongs to that name's repository (docker save, buildkit, containerd),
and a plain tag to the layout's own repository: the store's name, or the directory's, in lower case.
A row with any other name is kept as it is and can be asked for by digest only.

Content is one pool: what one repository has can be asked for by digest in every other.
"""

from __future__ import annotations

from syncer.layout.layout import Layout
from syncer.layout.names import parse

__all__ = ["Layout", "parse"]
