"""Turn human answers and predictions into vectors, one Parquet row an answer.

    texts = read_texts("test.parquet", {"human.parquet": None, "sft.parquet": "sft.jsonl"}, settings, seed=42)
    encoder = load_encoder("resources/models/e5", settings, dtype="bfloat16", origin={"hub": "intfloat/..."})
    embed_files(encoder, texts, settings, cache_dir="work/embeddings")

A row of a file has source_index, id and vector. What the encoder is (`polyalign.encoder`) and what was counted
(`polyalign.counts`) stand in the file's metadata, so that vectors of two encoders are never compared.
"""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from polyalign.answer_texts import Text, human_texts, predicted_texts
from polyalign.detection.protocol import model_folder, model_limit
from polyalign.embeddings.cache import TextEncoder, VectorCache, cached_encode
from polyalign.embeddings.settings import Embeddings
from polyalign.embeddings.vectors import write_vectors
from polyalign.errors import BadInput
from polyalign.files import StrPath, read_json, sha256_file, sha256_json
from polyalign.model_folders import check_modules, check_weights, load_config, load_tokenizer

_PACKAGE = "sentence-transformers"


class PooledEncoder:
    """Mean of a model's last hidden states over the tokens of a text (a `TextEncoder`).

    Args:
        dtype: precision of the weights.
        origin: where the model comes from, recorded as it is.

    Raises:
        BadInput: the folder holds no model.
    """

    def __init__(
        self,
        folder: StrPath,
        settings: Embeddings,
        *,
        dtype: str = "float32",
        origin: Mapping[str, Any] | None = None,
    ) -> None:
        import torch

        from polyalign.critic.model import Encoder
        from polyalign.critic.recipe import EncoderSettings
        from polyalign.features.packed_linear import pack_linears
        from polyalign.features.scorer import CPU_BATCH_TOKENS

        place = model_folder(folder, "encoder")
        own = model_limit(load_tokenizer(place), load_config(place).get_text_config())
        self.max_length = min(settings.max_length, own)
        on_gpu = torch.cuda.is_available()
        budget = settings.batch_tokens if on_gpu else min(settings.batch_tokens, CPU_BATCH_TOKENS)
        values = EncoderSettings(max_length=self.max_length, batch_tokens=budget, dtype=dtype)
        self._encoder = Encoder(place, values, "auto")
        if not on_gpu:
            pack_linears(self._encoder.model, CPU_BATCH_TOKENS)
        self.dim = self._encoder.dim
        self.identity = {
            "model": place.name,
            **(origin or {}),
            "digest": self._encoder.digest,
            "kind": "pooled",
            "vector": "mean of the last hidden states over the tokens",
            "dim": self.dim,
            "dtype": dtype,
            "max_length": self.max_length,
            "prefix": settings.prefix,
            "versions": {"transformers": version("transformers")},
        }

    def lengths(self, texts: Sequence[str]) -> list[int]:
        ids = self._encoder.tokenizer(list(texts), verbose=False)["input_ids"] if texts else []
        return [len(row) for row in ids]

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        return self._encoder.encode(texts).numpy()


class SentenceEncoder:
    """A folder as the package sentence-transformers reads it (a `TextEncoder`); arguments as of `PooledEncoder`.

    Raises:
        BadInput: the package is not installed, or the folder holds no model.
    """

    def __init__(
        self,
        folder: StrPath,
        settings: Embeddings,
        *,
        dtype: str = "float32",
        origin: Mapping[str, Any] | None = None,
    ) -> None:
        import torch

        from polyalign.critic.model import encoder_digest

        place = model_folder(folder, "encoder")
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError:
            raise BadInput(
                f"an encoder of kind sentence_transformers needs the package {_PACKAGE}",
                field="embeddings.kind",
                fix=f"pip install {_PACKAGE}, or take kind pooled",
            ) from None
        check_weights(place)
        check_modules(place)
        keywords = {"dtype": getattr(torch, dtype), "use_safetensors": True}
        self._model = SentenceTransformer(str(place), model_kwargs=keywords, local_files_only=True)
        own = self._model.max_seq_length or settings.max_length
        self._model.max_seq_length = self.max_length = min(settings.max_length, own)
        if self._model.tokenizer.pad_token is None:
            # The package pads batches; what stands there is masked.
            self._model.tokenizer.pad_token = self._model.tokenizer.eos_token
        # Not only the weights decide: pooling and normalization stand in files of their own.
        parts = {str(path.relative_to(place)): sha256_file(path) for path in sorted(place.rglob("*.json"))}
        self._batch = max(1, settings.batch_tokens // self.max_length)
        self.dim = int(self._model.encode(["a"]).shape[1])
        self.identity = {
            "model": place.name,
            **(origin or {}),
            "digest": sha256_json({"weights": encoder_digest(place), "files": parts}),
            "kind": "sentence_transformers",
            "vector": " of ".join(type(module).__name__ for module in reversed(list(self._model))),
            "dim": self.dim,
            "dtype": dtype,
            "max_length": self.max_length,
            "prefix": settings.prefix,
            "versions": {name: version(name) for name in ("transformers", _PACKAGE)},
        }

    def lengths(self, texts: Sequence[str]) -> list[int]:
        ids = self._model.tokenizer(list(texts), verbose=False)["input_ids"] if texts else []
        return [len(row) for row in ids]

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        found = self._model.encode(list(texts), batch_size=self._batch, show_progress_bar=False)
        return np.asarray(found, dtype=np.float32)


def load_encoder(
    folder: StrPath,
    settings: Embeddings,
    *,
    dtype: str = "float32",
    origin: Mapping[str, Any] | None = None,
) -> TextEncoder:
    """The encoder of a folder, of the kind that the settings name.

    Args:
        dtype: precision of its weights.
        origin: where the model comes from, for the record.
    """
    kind = SentenceEncoder if settings.kind == "sentence_transformers" else PooledEncoder
    return kind(folder, settings, dtype=dtype, origin=origin)


def embed(
    encoder: TextEncoder, texts: Sequence[Text], settings: Embeddings, cache: VectorCache | None, out: StrPath
) -> dict[str, int]:
    """Write a vector for each text that there is; returns what was counted: rows, embedded, no_answer, empty, cut.

    An empty answer is an answer: the encoder's vector of nothing stands for it.
    """
    there = [text for text in texts if text.text is not None]
    given = [settings.prefix + text.text for text in there]
    vectors = cached_encode(encoder, given, cache)
    if settings.normalize:
        vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    distinct = list(dict.fromkeys(given))
    long = {
        text for text, n in zip(distinct, encoder.lengths(distinct), strict=True) if n > encoder.max_length
    }
    counts = {
        "rows": len(texts),
        "embedded": len(there),
        "no_answer": len(texts) - len(there),
        "empty": sum(not text.text.strip() for text in there),
        "cut": sum(text in long for text in given),
        "distinct": len(distinct),
    }
    rows, ids = [text.source_index for text in there], [text.id for text in there]
    identity = {**encoder.identity, "normalize": settings.normalize}
    write_vectors(out, rows, ids, vectors, encoder=identity, counts=counts)
    return counts


def read_texts(
    records: StrPath, files: Mapping[StrPath, StrPath | None], settings: Embeddings, seed: int
) -> dict[StrPath, list[Text]]:
    """{file of vectors: the answers that it is to hold}; all are read before an encoder is loaded.

    Args:
        records: the split.
        files: {file of vectors: predictions, or None for the human answers}.
        seed: of the draw of rows.

    Raises:
        BadInput, BadInputs: a broken file, or predictions of other records.
    """
    return {
        out: human_texts(records, settings.rows, seed)
        if predictions is None
        else predicted_texts(predictions, records, settings.rows, seed)
        for out, predictions in files.items()
    }


def embed_files(
    encoder: TextEncoder,
    texts: Mapping[StrPath, Sequence[Text]],
    settings: Embeddings,
    *,
    cache_dir: StrPath | None = None,
) -> dict[str, Any]:
    """Embed answers and write a file of vectors for each of `read_texts`.

    Args:
        cache_dir: folder of vectors that were computed before; None: no cache.

    Returns:
        The encoder and what was counted, by file, for the manifest.
    """
    cache = None if cache_dir is None else VectorCache(cache_dir, encoder.identity, encoder.dim)
    counts = {str(out): embed(encoder, found, settings, cache, out) for out, found in texts.items()}
    return {"encoder": dict(encoder.identity), "counts": counts}


def embed_job(
    folder: StrPath,
    records: StrPath,
    files: Mapping[StrPath, StrPath | None],
    *,
    settings: Mapping[str, Any],
    dtype: str,
    origin: Mapping[str, Any],
    seed: int,
    cache_dir: StrPath,
) -> dict[str, Any]:
    """Embed human answers and predictions with an encoder from a folder, from plain values; what a rule runs."""
    typed = Embeddings.model_validate(dict(settings))
    texts = read_texts(records, files, typed, seed)
    manifest = Path(folder) / "manifest.json"
    commit = read_json(manifest).get("details", {}).get("commit") if manifest.is_file() else None
    where = {**origin, "commit": commit} if commit else origin
    encoder = load_encoder(folder, typed, dtype=dtype, origin=where)
    return embed_files(encoder, texts, typed, cache_dir=cache_dir)
