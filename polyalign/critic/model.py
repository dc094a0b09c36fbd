"""The critic's network: an encoder, and a head that scores an answer vector within its bucket.

docs/method.md, Critic and HDPO. The encoder is any model folder that transformers' AutoModel opens.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import nn

from polyalign.critic.recipe import EncoderSettings
from polyalign.errors import BadInput
from polyalign.files import StrPath, sha256_file, sha256_json
from polyalign.model_folders import check_weights, load_tokenizer, load_weights

UNKNOWN_BUCKET = 0


class CriticHead(nn.Module):
    """Answer vector and bucket embedding, then Linear-GELU-Dropout twice and Linear to one score (`paper`).

    Args:
        response_dim: width of the answer vectors.
        num_buckets: size of the bucket vocabulary, the shared unknown bucket included.
    """

    def __init__(
        self, response_dim: int, num_buckets: int, bucket_dim: int, hidden_dim: int, dropout: float
    ) -> None:
        super().__init__()
        self.bucket_embedding = nn.Embedding(num_buckets, bucket_dim)
        self.mlp = nn.Sequential(
            nn.Linear(response_dim + bucket_dim, hidden_dim),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden_dim, hidden_dim),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden_dim, 1),
        )
        # No training row has the unknown bucket: a zero vector is neutral, a random one would shift scores.
        with torch.no_grad():
            self.bucket_embedding.weight[UNKNOWN_BUCKET].zero_()

    def forward(self, responses: torch.Tensor, buckets: torch.Tensor) -> torch.Tensor:
        """Scores [n] of answer vectors [n, response_dim] in buckets [n] (vocabulary ids)."""
        return self.mlp(torch.cat([responses, self.bucket_embedding(buckets)], dim=-1)).squeeze(-1)


class BucketVocabulary:
    """Bucket names to ids from 1, by name; every other bucket is `UNKNOWN_BUCKET`."""

    def __init__(self, buckets: Iterable[str]) -> None:
        self.names = sorted(set(buckets))
        self._ids = {name: number for number, name in enumerate(self.names, start=1)}

    def __len__(self) -> int:
        return len(self.names) + 1

    def ids(self, buckets: Sequence[str]) -> torch.Tensor:
        """Ids [n], int64, of bucket names."""
        return torch.tensor([self._ids.get(name, UNKNOWN_BUCKET) for name in buckets], dtype=torch.int64)


def mean_pool(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean [n, d] of hidden states [n, t, d] over the positions that the mask [n, t] keeps (`paper`)."""
    weights = mask.to(hidden.dtype).unsqueeze(-1)
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1.0)


def encoder_digest(folder: StrPath) -> str:
    """SHA-256 over what decides an encoder's output: its config, tokenizer and weights.

    Raises:
        BadInput: no weights there, or not all of them.
    """
    names = ("config.json", "tokenizer.json", "tokenizer_config.json")
    files = [path for name in names if (path := Path(folder) / name).is_file()]
    return sha256_json({path.name: sha256_file(path) for path in [*files, *check_weights(folder)]})


def resolve_device(device: str) -> torch.device:
    """`auto` is the first GPU where there is one, else the CPU."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)


class Encoder:
    """A model folder that turns answers into float32 vectors [n, dim].

    Args:
        trainable: keep float32 weights that learn; bfloat16 on a GPU is then left to autocast.

    Raises:
        BadInput: the folder holds no model, or its tokenizer has no end-of-sequence token or separator.
    """

    def __init__(
        self, folder: StrPath, settings: EncoderSettings, device: str = "cpu", *, trainable: bool = False
    ) -> None:
        self.folder = Path(folder)
        self.digest = encoder_digest(folder)
        self.settings = settings
        self.device = resolve_device(device)
        dtype = settings.dtype
        if dtype == "auto":
            dtype = "bfloat16" if self.device.type == "cuda" else "float32"
        self.dtype = dtype
        self.tokenizer = load_tokenizer(self.folder)
        # Models of the BERT kind end a text with their separator.
        self.end_token = self.tokenizer.eos_token or self.tokenizer.sep_token
        if self.end_token is None:
            raise BadInput(
                "the tokenizer has no end-of-sequence token",
                file=folder,
                expected="an eos_token or sep_token, which stands for an empty answer",
            )
        held = "float32" if trainable else dtype
        self.model = load_weights("AutoModel", self.folder, dtype=getattr(torch, held))
        self.model.to(self.device).eval().requires_grad_(trainable)
        if trainable and settings.gradient_checkpointing:
            self.model.gradient_checkpointing_enable()

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return self.model.config.hidden_size

    def _token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of texts, cut at the end; one without tokens is the end-of-sequence token (`paper`)."""
        filled = [text if text.strip() else self.end_token for text in texts]
        ids = self.tokenizer(filled, truncation=True, max_length=self.settings.max_length)["input_ids"]
        end = self.tokenizer.convert_tokens_to_ids(self.end_token)
        return [row or [end] for row in ids]

    def _batches(self, lengths: Sequence[int]) -> list[list[int]]:
        """Positions grouped by similar length so that no padded batch exceeds the token budget."""
        batches: list[list[int]] = []
        # Longest first: a batch that is too big for the memory fails at once, not at the end.
        for position in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
            if batches and lengths[batches[-1][0]] * (len(batches[-1]) + 1) <= self.settings.batch_tokens:
                batches[-1].append(position)
            else:
                batches.append([position])
        return batches

    def _forward(self, ids: Sequence[Sequence[int]]) -> torch.Tensor:
        """Vectors [m, dim], float32, of m rows of token ids, padded to the longest."""
        width = max(len(row) for row in ids)
        tokens = torch.zeros(len(ids), width, dtype=torch.int64)
        mask = torch.zeros(len(ids), width, dtype=torch.int64)
        for number, row in enumerate(ids):
            tokens[number, : len(row)] = torch.tensor(row)
            mask[number, : len(row)] = 1
        tokens, mask = tokens.to(self.device), mask.to(self.device)
        autocast = self.model.dtype == torch.float32 and self.dtype != "float32"
        with torch.autocast(self.device.type, dtype=getattr(torch, self.dtype), enabled=autocast):
            hidden = self.model(input_ids=tokens, attention_mask=mask, use_cache=False).last_hidden_state
        return mean_pool(hidden.float(), mask)

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        """Mask-weighted mean of the last hidden states of each text: float32 [n, dim] on the CPU."""
        ids = self._token_ids(texts)
        vectors = torch.empty(len(texts), self.dim, dtype=torch.float32)
        for batch in self._batches([len(row) for row in ids]):
            vectors[batch] = self._forward([ids[position] for position in batch]).cpu()
        return vectors

    def encode_to_learn(self, texts: Sequence[str]) -> torch.Tensor:
        """The same vectors on the encoder's device, through which gradients reach its weights."""
        ids = self._token_ids(texts)
        places, parts = [], []
        for batch in self._batches([len(row) for row in ids]):
            places += batch
            parts.append(self._forward([ids[position] for position in batch]))
        order = torch.empty(len(places), dtype=torch.int64, device=self.device)
        order[torch.tensor(places, device=self.device)] = torch.arange(len(places), device=self.device)
        return torch.cat(parts)[order]

    def save(self, folder: StrPath) -> None:
        """Write model and tokenizer to a folder, as `Encoder` opens it again."""
        self.model.save_pretrained(folder, max_shard_size="1TB")
        self.tokenizer.save_pretrained(folder)
