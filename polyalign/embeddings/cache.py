"""Vectors of texts that were encoded before, by digest of the text, in a folder an encoder.

    cache = VectorCache("work/embeddings", encoder.identity, encoder.dim)
    vectors = cached_encode(encoder, texts, cache)

An answer that many systems give is encoded once, and a changed figure encodes nothing. Every call that finds something
new writes one more file, so jobs that run side by side never wait for each other. The folder can be deleted at any
time; no result refers to it.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from polyalign.embeddings.vectors import column_vectors, vector_column
from polyalign.errors import BadInput, PolyAlignError
from polyalign.files import StrPath, read_table, sha256_json, write_table

_DIGEST_BYTES = 16


class TextEncoder(Protocol):
    """Anything that turns texts into vectors.

    Attributes:
        identity: what decides the vectors, as plain values.
        dim: their width.
        max_length: tokens that are kept of a text.
    """

    identity: Mapping[str, Any]
    dim: int
    max_length: int

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, uncut."""
        ...

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors (n, dim), float32."""
        ...


def text_digest(text: str) -> bytes:
    """Digest under which the vector of a text is kept."""
    return hashlib.sha256(text.encode()).digest()[:_DIGEST_BYTES]


class VectorCache:
    """Vectors of one encoder below a folder.

    Args:
        folder: of the caches of all encoders.
        identity: what decides the encoder's vectors; another identity is another cache.
        dim: width of the vectors.
    """

    def __init__(self, folder: StrPath, identity: Mapping[str, Any], dim: int) -> None:
        self.folder = Path(folder) / sha256_json(dict(identity))[:16]
        self.dim = dim

    def find(self, digests: Sequence[bytes]) -> dict[bytes, np.ndarray]:
        """Vectors (dim,) of those digests that are there.

        Raises:
            BadInput: a file of the cache is broken.
        """
        wanted, found = set(digests), {}
        for file in sorted(self.folder.glob("*.parquet")):
            if not wanted:
                break
            # Digests alone first: most files hold nothing that is asked for.
            here = read_table(file, ["digest"])["digest"].to_pylist()
            places = [place for place, digest in enumerate(here) if digest in wanted]
            if not places:
                continue
            column = read_table(file, ["vector"])["vector"]
            if column.type.list_size != self.dim:
                raise BadInput(f"vectors of {column.type.list_size}", file=file, fix=f"delete {self.folder}")
            vectors = column_vectors(column)
            found.update({here[place]: vectors[place] for place in places})
            wanted.difference_update(found)
        return found

    def add(self, digests: Sequence[bytes], vectors: np.ndarray) -> None:
        """Keep the vectors (n, dim) of n digests."""
        name = hashlib.sha256(b"".join(digests)).hexdigest()[:24]
        table = pa.table(
            {
                "digest": pa.array(list(digests), pa.binary(_DIGEST_BYTES)),
                "vector": vector_column(vectors),
            }
        )
        write_table(self.folder / f"{name}.parquet", table)


def cached_encode(encoder: TextEncoder, texts: Sequence[str], cache: VectorCache | None) -> np.ndarray:
    """Vectors (n, dim) of n texts, float32; each distinct text that the cache lacks is encoded once.

    Raises:
        PolyAlignError: vectors that are no finite numbers, with their count; none of them is kept.
    """
    digests = [text_digest(text) for text in texts]
    text_of = dict(zip(digests, texts, strict=True))
    known = {} if cache is None else cache.find(list(text_of))
    new = [digest for digest in text_of if digest not in known]
    if new:
        vectors = encoder.encode([text_of[digest] for digest in new])
        bad = int((~np.isfinite(vectors).all(axis=1)).sum())
        if bad:
            raise PolyAlignError(
                f"{bad:,} of {len(new):,} vectors are no finite numbers; "
                "fix: load the encoder in float32, or check its weights"
            )
        if cache is not None:
            cache.add(new, vectors)
        known |= dict(zip(new, vectors, strict=True))
    return np.stack([known[digest] for digest in digests]) if digests else np.zeros((0, encoder.dim), "f4")
