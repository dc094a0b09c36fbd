"""Settings of the evaluation; the defaults are the paper's where it has the parameter."""

from typing import Annotated, Literal

from pydantic import Field

from polyalign.settings import Settings

Positive = Annotated[int, Field(gt=0)]


class MauveSettings(Settings):
    """MAUVE: texts are embedded by a causal language model and compared as histograms of clusters."""

    model: str | None = Field(None, description="key of `models` whose base embeds the texts; null: no MAUVE")
    max_texts: Positive = Field(1000, description="most texts a side, overall and a bucket")
    max_length: Positive = Field(256, description="most tokens a text")
    batch_tokens: Positive = Field(8192, description="padded tokens a batch of the featurizer")


class MetricSettings(Settings):
    """Metrics of predictions and their intervals."""

    min_bucket_size: Positive = Field(20, description="smaller buckets get no BNG, HCR, MAUVE or TDM")
    support: Literal["q10_q90", "q25_q75"] = Field(
        "q10_q90", description="support of the HCR in the frontiers"
    )
    self_bleu_sample: Positive = Field(500, description="texts whose Self-BLEU is taken, a group")
    self_bleu_references: Positive = Field(100, description="other texts each is compared with")
    seed: int = Field(42, description="seed of Self-BLEU, MAUVE and the bootstrap")
    bootstrap: int = Field(1000, ge=0, description="bootstrap replicates; 0: no intervals")
    confidence: float = Field(0.95, gt=0, lt=1, description="coverage of the intervals")
    mauve: MauveSettings = Field(MauveSettings(), description="MAUVE")

    def self_bleu(self) -> dict[str, int]:
        """How Self-BLEU samples, as arguments of `polyalign.metrics.diversity.diversity`."""
        return {
            "sample": self.self_bleu_sample,
            "references": self.self_bleu_references,
            "seed": self.seed,
        }
