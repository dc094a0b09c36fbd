"""Settings of the embedding analysis: which encoder, how many rows, which projections, how the numbers are taken.

The encoder is named by a key of `models`; what the figures mean is told in docs/embeddings.md.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from polyalign.errors import BadInput
from polyalign.settings import Settings, nearest

Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(gt=0, lt=1)]
ProjectionName = Literal["pca", "tsne", "umap"]
EncoderKind = Literal["pooled", "sentence_transformers"]
PROJECTIONS = ("pca", "tsne", "umap")


class Embeddings(Settings):
    """Embeddings of human and model answers: pictures of them, and distances between them."""

    encoder: str | None = Field(None, description="model that turns answers into vectors, a key of `models`")
    kind: EncoderKind = Field(
        "pooled",
        description="pooled: mean of the last hidden states; sentence_transformers: as that package, which is to be "
        "installed apart, reads the folder",
    )
    prefix: str = Field(
        "", description="text put before every answer, where the encoder was trained with one"
    )
    max_length: Positive = Field(
        512, description="tokens kept of an answer, from its start; less where the model's own limit is"
    )
    batch_tokens: Positive = Field(16384, description="padded tokens a batch")
    normalize: bool = Field(True, description="scale every vector to length 1")
    rows: Positive | None = Field(
        5000, description="test rows that are embedded, a seeded draw, the same for all cells; null: all"
    )
    job: Literal["cell", "language"] = Field(
        "cell",
        description="work of one job: the answers of a cell, or everything of a language, for an encoder that takes "
        "longer to load than to run",
    )
    components: Positive = Field(
        64, description="principal components that distances are taken on and projections start from"
    )
    min_bucket_size: Annotated[int, Field(ge=10)] = Field(
        20, description="buckets with fewer rows have no figures of their own"
    )
    folds: Annotated[int, Field(ge=2, le=10)] = Field(5, description="folds of the classifier test")
    permutations: int = Field(
        200, ge=0, description="exchanges of human and model answers that the p-value rests on; 0: none"
    )
    bootstrap: int = Field(1000, ge=0, description="replicates of the intervals; 0: none")
    confidence: Share = Field(0.95, description="level of the intervals")
    projections: Annotated[list[ProjectionName], Field(min_length=1)] = Field(
        ["pca", "tsne", "umap"], description="pictures, in order; umap takes long to start"
    )
    figure_rows: Positive = Field(
        600, description="rows that are drawn, a seeded draw of those above, with every answer to them"
    )
    perplexity: float = Field(30.0, gt=0, description="perplexity of t-SNE; less where there are few points")
    neighbors: Annotated[int, Field(ge=2)] = Field(15, description="neighbours of UMAP, likewise")


def check_embeddings(embeddings: Embeddings, models: Mapping[str, Any], grid: Sequence[str]) -> None:
    """Raise ValueError unless the encoder, where one is named, is a known model that is no stand-in.

    Args:
        models: `polyalign.config.Model` by key.
        grid: keys of the models of the grid.
    """
    name = embeddings.encoder
    if name is None:
        return
    if name not in models:
        raise ValueError(f"embeddings.encoder: no model {name!r}; {nearest(name, list(models))}")
    if models[name].stand_in:
        raise ValueError(f"embeddings.encoder: {name} stands in for a detector's model; name {grid[0]}")


def encoder_of(embeddings: Embeddings) -> str:
    """Key of the encoder; raises `BadInput` where the configuration names none."""
    if embeddings.encoder is None:
        raise BadInput(
            "no encoder",
            field="embeddings.encoder",
            expected="a key of `models`",
            fix="name one in the config",
        )
    return embeddings.encoder
