"""Store over an OCI image layout: one directory that holds any number of repositories.

Source: OCI image-spec 1.1 "image-layout", "annotations".

Each name is one row of `index.json`, with an `org.opencontainers.image.ref.name` of

    repository:tag   where a repository is given; blobs are shared by all of them
    tag              for the repository "", as skopeo, oras and regctl write it

A manifest put by digest that no other row or index of its repository names gets a row too, so that
no tool's collection takes it and referrers are found. A digest is no tag: such a row has no
`ref.name`, and `io.containerd.image.name` says `repository@digest`, which other tools ignore.

skopeo and podman read tags as `oci:PATH:REF-NAME`, oras as `--oci-layout-path PATH REF-NAME` (plain
ones as `PATH:tag`), regctl as `ocidir://PATH:tag`, crane by digest. skopeo sees no row of Docker's
media types and no name with `__` in it. What these tools write is read: `HOST:PORT/` before a
repository is left out (crane `--annotate-ref`), a tag beside `io.containerd.image.name` belongs to
that name's repository (docker save, buildkit, containerd), and a plain tag to the layout's own
repository, which is called like the store, or else the directory, in lower case. A row with any
other name stays as it is and can be asked for by digest only.

Content is one pool: what one repository has can be asked for by digest in every other.
"""

from __future__ import annotations

from syncer.layout.layout import Layout
from syncer.layout.names import PREFIX, parse

__all__ = ["PREFIX", "Layout", "parse"]
