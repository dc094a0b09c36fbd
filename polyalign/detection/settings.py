"""Settings of the detectors of machine text: which run, on which models, and how a long text is read.

Models are named by keys of `models`; what each role means is told in docs/detection.md.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from polyalign.settings import Settings, nearest

Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(gt=0, lt=1)]
ROLES = {
    "fast_detectgpt": ("sampler", "scorer"),
    "binoculars": ("observer", "performer"),
    "radar": ("classifier",),
    "detectgpt": ("scorer", "filler"),
}
"""Every detector, with the models that it needs in the order in which the command line takes them."""
DETECTORS = tuple(ROLES)
DetectorName = Literal[*ROLES]


class FastDetectGpt(Settings):
    """Fast-DetectGPT in its analytic form: log-probability against what the sampling model expects."""

    sampler: str | None = Field(None, description="model whose distribution gives mean and variance")
    scorer: str | None = Field(None, description="model that scores; its tokenizer must be the sampler's")
    human_mean: float = Field(0.1603, description="mean curvature of human text under these two models")
    human_std: float = Field(1.0791, gt=0, description="its standard deviation")
    ai_mean: float = Field(2.4686, description="mean curvature of machine text under these two models")
    ai_std: float = Field(2.1582, gt=0, description="its standard deviation")


class Binoculars(Settings):
    """Binoculars: log-perplexity over cross-entropy between two models."""

    observer: str | None = Field(None, description="base model")
    performer: str | None = Field(None, description="instruction-tuned model with the same tokenizer")
    perplexity_of: Literal["observer", "performer"] = Field(
        "observer", description="whose log-perplexity is divided; the authors' code takes the performer's"
    )
    threshold: float = Field(
        0.9015, gt=0, description="machine text below it; 0.8536 gives fewer false positives"
    )


class Radar(Settings):
    """RADAR: a trained sequence classifier."""

    classifier: str | None = Field(None, description="sequence classifier whose class 0 is machine text")
    threshold: Share = Field(
        0.5, description="probability of machine text from which the decision is machine"
    )


class DetectGpt(Settings):
    """DetectGPT: log-probability against that of versions with some words filled in anew."""

    scorer: str | None = Field(None, description="model that scores the versions")
    filler: str | None = Field(None, description="T5-like model that fills in the masked words")
    perturbations: Annotated[int, Field(ge=2)] = Field(10, description="versions a text")
    mask_share: Share = Field(0.15, description="share of words that are masked")
    span_words: Positive = Field(2, description="words a masked span")
    buffer_words: int = Field(1, ge=0, description="words that are left between spans, on either side")
    fill_tokens: Positive = Field(12, description="most tokens that fill one span")
    threshold: float = Field(1.0, description="z-score from which the decision is machine; not calibrated")


class Detection(Settings):
    """Detectors of machine text."""

    run: list[DetectorName] = Field([], description="detectors, in table order")
    rows: Positive | None = Field(
        None, description="test rows that are scored, a seeded draw, the same for all cells; null: all"
    )
    job: Literal["cell", "language"] = Field(
        "cell",
        description="work of one job: a detector on a cell, or everything of a language, for models that take "
        "longer to load than to run",
    )
    max_length: Annotated[int, Field(ge=8)] = Field(
        2048, description="most tokens read at once; less where the model's own limit is"
    )
    long_texts: Literal["windows", "error"] = Field(
        "windows",
        description="a longer text is read in windows that together hold all of it, or becomes an error row",
    )
    batch_tokens: Positive = Field(16384, description="padded tokens a batch")
    bootstrap: int = Field(1000, ge=0, description="replicates of the AUROC; 0: no intervals")
    confidence: Share = Field(0.95, description="level of the intervals")
    bins: Annotated[int, Field(ge=2)] = Field(30, description="bins of the score histograms")
    fast_detectgpt: FastDetectGpt = Field(FastDetectGpt(), description="Fast-DetectGPT")
    binoculars: Binoculars = Field(Binoculars(), description="Binoculars")
    radar: Radar = Field(Radar(), description="RADAR")
    detectgpt: DetectGpt = Field(DetectGpt(), description="DetectGPT")

    def models_of(self, detector: str) -> dict[str, str]:
        """{role: model key} of a detector; a role without a model is left out."""
        own = getattr(self, detector)
        named = {role: getattr(own, role) for role in ROLES[detector]}
        return {role: key for role, key in named.items() if key is not None}


class StandIn(Settings):
    """A tiny model that the workflow trains for a moment, to show the plumbing of a detector or judge where no real
    one is."""

    kind: Literal["causal", "classifier", "filler", "judge"] = Field(
        description="causal: another small language model; classifier: tells answers from samples; filler: T5-like; "
        "judge: grades by rule, with a tokenizer of its own"
    )
    like: str = Field(description="key of the model built here whose tokenizer it takes")
    hidden_size: Positive = Field(64, description="width, a multiple of 16")
    layers: Positive = Field(2, description="transformer blocks")
    steps: Positive = Field(60, description="training steps")
    batch_size: Positive = Field(16, description="texts a step")
    sequence_length: Annotated[int, Field(ge=16)] = Field(64, description="most tokens of a training text")
    learning_rate: float = Field(3e-3, gt=0, description="learning rate")


def check_detection(detection: Detection, models: Mapping[str, Any], grid: Sequence[str]) -> None:
    """Raise ValueError unless every detector that runs has known models, and stand-ins stand in for these alone.

    Args:
        models: `polyalign.config.Model` by key.
        grid: keys of the models of the grid.
    """
    for detector in detection.run:
        named = detection.models_of(detector)
        for role in ROLES[detector]:
            if role not in named:
                raise ValueError(f"detectors.{detector}.{role}: the detector runs and needs a model")
            if named[role] not in models:
                known = nearest(named[role], list(models))
                raise ValueError(f"detectors.{detector}.{role}: no model {named[role]!r}; {known}")
    for key, model in models.items():
        if model.stand_in and getattr(models.get(model.stand_in.like), "build", None) is None:
            raise ValueError(f"models.{key}.stand_in.like: name a model that is built here")
    if any(models[name].stand_in for name in grid):
        raise ValueError("grid.models: a stand-in is for detectors and judges alone")
