"""What the critic reads: pair tables as arrays, and answer vectors, computed once per distinct text
unless the encoder learns.

Vectors are kept as files in a cache folder, a chunk of texts each, named by encoder and texts. So a killed
job goes on where it stopped, and scoring takes the vectors that training made. Deleting the folder costs time
and nothing else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from polyalign.critic.model import BucketVocabulary, Encoder
from polyalign.errors import BadInput
from polyalign.files import StrPath, atomic_path, read_table, sha256_json
from polyalign.progress import track

CHUNK_TEXTS = 4096


@dataclass(frozen=True)
class PairData:
    """A pair table for the critic; every array has one value a pair [n].

    `texts` are the distinct answers in order; `chosen` and `rejected` are places in it.
    """

    name: str
    ids: list[str]
    texts: list[str]
    chosen: np.ndarray
    rejected: np.ndarray
    buckets: list[str]
    chosen_target: np.ndarray
    rejected_target: np.ndarray

    @property
    def usable(self) -> np.ndarray:
        """Positions of the pairs that have both targets."""
        return np.flatnonzero(np.isfinite(self.chosen_target) & np.isfinite(self.rejected_target))

    def pair_texts(self, rows: np.ndarray) -> tuple[list[str], list[str]]:
        """Chosen and rejected texts of the pairs at `rows`."""
        chosen = [self.texts[place] for place in self.chosen[rows]]
        return chosen, [self.texts[place] for place in self.rejected[rows]]


def read_pairs(path: StrPath) -> PairData:
    """Read a pair table; missing targets become NaN.

    Raises:
        BadInput: a column or every row is missing.
    """
    columns = ["id", "bucket_id", "chosen", "rejected", "chosen_target", "rejected_target"]
    table = read_table(path, columns)
    if not table.num_rows:
        raise BadInput("no pairs", file=path, fix="build the pairs again")
    chosen, rejected = table["chosen"].to_pylist(), table["rejected"].to_pylist()
    texts = sorted({*chosen, *rejected})
    place = {text: number for number, text in enumerate(texts)}
    return PairData(
        name=str(path),
        ids=table["id"].to_pylist(),
        texts=texts,
        chosen=np.array([place[text] for text in chosen], dtype=np.int64),
        rejected=np.array([place[text] for text in rejected], dtype=np.int64),
        buckets=table["bucket_id"].to_pylist(),
        chosen_target=table["chosen_target"].to_numpy().astype(np.float64),
        rejected_target=table["rejected_target"].to_numpy().astype(np.float64),
    )


class CachedVectors:
    """Vectors of a list of texts, mapped from their chunk files, so memory does not grow with the data."""

    def __init__(self, files: Sequence[Path], dim: int) -> None:
        self._chunks = [np.load(file, mmap_mode="r") for file in files]
        self.dim = dim

    def take(self, places: np.ndarray) -> torch.Tensor:
        """Vectors [m, dim], float32, of the texts at `places` [m]."""
        vectors = np.empty((len(places), self.dim), dtype=np.float32)
        chunk_of, row = np.divmod(places, CHUNK_TEXTS)
        for number in np.unique(chunk_of):
            here = chunk_of == number
            vectors[here] = self._chunks[number][row[here]]
        return torch.from_numpy(vectors)


class LearnedVectors:
    """Vectors of a list of texts, encoded anew whenever they are asked for: the encoder changes as it learns."""

    def __init__(self, texts: Sequence[str], encoder: Encoder) -> None:
        self._texts, self._encoder = texts, encoder

    def take(self, places: np.ndarray) -> torch.Tensor:
        """Vectors [m, dim], float32, of the texts at `places` [m], with gradients where they are enabled."""
        return self._encoder.encode_to_learn([self._texts[place] for place in places])


def embed_texts(texts: Sequence[str], encoder: Encoder, cache: StrPath, label: str) -> CachedVectors:
    """Encode texts chunk by chunk into the folder `cache`, taking the chunks that are there already."""
    settings = encoder.settings
    files: list[Path] = []
    chunks = (list(texts[start : start + CHUNK_TEXTS]) for start in range(0, len(texts), CHUNK_TEXTS))
    for chunk in track(chunks, total=len(texts), label=f"encode {label}", unit="texts", count=len):
        key = sha256_json([encoder.digest, encoder.dtype, settings.max_length, chunk])
        file = Path(cache) / f"{key[:32]}.npy"
        if not file.is_file():
            with atomic_path(file) as temporary:
                np.save(temporary, encoder.encode(chunk).numpy())
        files.append(file)
    return CachedVectors(files, encoder.dim)


@dataclass(frozen=True)
class Batch:
    """Vectors [m, dim], bucket ids [m] and targets [m] of m pairs."""

    chosen: torch.Tensor
    rejected: torch.Tensor
    buckets: torch.Tensor
    chosen_target: torch.Tensor
    rejected_target: torch.Tensor


class PairBatches:
    """Batches of a pair table, as tensors on one device.

    Args:
        rows: positions of the pairs to use.
    """

    def __init__(
        self,
        pairs: PairData,
        vectors: CachedVectors | LearnedVectors,
        vocabulary: BucketVocabulary,
        rows: np.ndarray,
        device: torch.device,
    ) -> None:
        self._pairs, self._vectors, self._rows, self._device = pairs, vectors, rows, device
        self._buckets = vocabulary.ids([pairs.buckets[row] for row in rows])

    def __len__(self) -> int:
        return len(self._rows)

    def batch(self, places: np.ndarray) -> Batch:
        """The pairs at `places` among those in use."""
        rows = self._rows[places]
        tensors = (
            self._vectors.take(self._pairs.chosen[rows]),
            self._vectors.take(self._pairs.rejected[rows]),
            self._buckets[places],
            torch.from_numpy(self._pairs.chosen_target[rows].astype(np.float32)),
            torch.from_numpy(self._pairs.rejected_target[rows].astype(np.float32)),
        )
        return Batch(*(tensor.to(self._device) for tensor in tensors))
