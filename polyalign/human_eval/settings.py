"""Settings of the human evaluation, and the names that its files and its page share.

A site has one mode:

    single    one answer at a time, scored from 1 to 5 in each of `DIMENSIONS`
    pairwise  two answers at a time, of which the better one is chosen, or neither

The page, its key and the annotators' exports are JSON documents of the kinds below; each names the site that it
belongs to. Definitions: docs/method.md, Judge, detectors and human evaluation.
"""

from typing import Annotated, Literal

from pydantic import Field

from polyalign.methods import TABLE_METHODS
from polyalign.settings import Settings

Mode = Literal["single", "pairwise"]
Judged = Literal[*TABLE_METHODS]
Reference = Literal["shown", "answer", "none"]
Positive = Annotated[int, Field(gt=0)]

MODES: tuple[Mode, ...] = ("single", "pairwise")
DIMENSIONS = (
    "task_success",
    "factual_grounding",
    "instruction_following",
    "reference_alignment",
    "response_quality",
)
SCALE = (1, 5)
CHOICES = ("first", "second", "tie")
KEY_KIND = "polyalign-human-eval-key"
EXPORT_KIND = "polyalign-human-eval"
VERSION = 1


class HumanEvalSettings(Settings):
    """The blind human evaluation: what is drawn, how it is shown, how it is summarized."""

    modes: list[Mode] = Field(
        ["single", "pairwise"],
        min_length=1,
        description="pages to build: single answers scored, pairs compared",
    )
    methods: list[Judged] = Field([], description="methods whose answers are judged; empty: grid.methods")
    models: list[str] = Field([], description="models whose answers are judged; empty: grid.models")
    prompts_per_length_bin: Positive = Field(
        10, description="prompts drawn of each length bin, spread over its corpora"
    )
    seed: int = Field(42, description="seed of the draw, of the blinding and of the bootstrap")
    reference: Reference = Field(
        "shown",
        description="the human answer is shown beside the others, judged blind among them, or left out",
    )
    answers_per_prompt: Positive | None = Field(
        None, description="answers scored a prompt, in turn over all systems; null: all"
    )
    pairs_per_prompt: Positive | None = Field(
        10, description="pairs compared a prompt, in turn over all pairs of systems; null: all"
    )
    bootstrap: int = Field(1000, ge=0, description="bootstrap replicates of a summary; 0: no intervals")
    confidence: float = Field(0.95, gt=0, lt=1, description="coverage of the intervals")
