"""The rubric of the judge: what is asked, the schema of a reply, caps and composites.

    rubric = load_rubric()
    scores = rubric.capped(scores, flags)
    rubric.composites_of(scores)["overall"]          # 0 to 100

Weights and caps: docs/method.md, Judge, detectors and human evaluation. The words: resources/judge/rubric.yaml.
"""

import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from polyalign.files import StrPath, sha256_json
from polyalign.settings import Settings, read_settings, read_yaml

RUBRIC = Path(__file__).resolve().parents[2] / "resources" / "judge" / "rubric.yaml"
LOWEST, HIGHEST = 1, 5
EMPTY_FLAG = "empty_or_unintelligible"
"""The flag that the program sets by itself where an answer is empty."""
Score = Annotated[int, Field(ge=LOWEST, le=HIGHEST)]
_REPLY = (
    "Reply with one JSON object and nothing else: first each statement with true or false, then each question with a "
    "whole number from 1 to 5, under these names and in this order."
)


class Dimension(Settings):
    """A question that is answered by a whole number, and what 1, 3 and 5 stand for."""

    question: str
    low: str
    middle: str
    high: str


class Flag(Settings):
    """A statement about the answer that is true or false, and the most that scores may be where it is true."""

    question: str
    caps: dict[str, Score]


class Rubric(Settings):
    """Flags and dimensions in the order in which they are asked, and the weights of the composites."""

    version: int
    task: str
    flags: dict[str, Flag]
    dimensions: dict[str, Dimension]
    composites: dict[str, dict[str, float]]

    @model_validator(mode="after")
    def _parts_fit(self) -> "Rubric":
        for kind, parts in (
            ("flags", {name: flag.caps for name, flag in self.flags.items()}),
            ("composites", self.composites),
        ):
            for name, values in parts.items():
                unknown = set(values) - set(self.dimensions)
                if unknown:
                    raise ValueError(f"{kind}.{name}: no dimension {min(unknown)!r}")
        for name, weights in self.composites.items():
            if abs(sum(weights.values()) - 1) > 1e-9:
                raise ValueError(f"composites.{name}: weights sum to {sum(weights.values()):g}, not to 1")
        return self

    @property
    def score_names(self) -> tuple[str, ...]:
        """Dimensions, then composites: what a judged row has a number for."""
        return (*self.dimensions, *self.composites)

    def digest(self) -> str:
        """SHA-256 of all of it: judgements with the same digest were asked for alike."""
        return sha256_json(self.model_dump())

    def _ordered(self, names: Iterable[str], backwards: bool) -> list[str]:
        return list(names)[:: -1 if backwards else 1]

    def text(self, *, backwards: bool = False) -> str:
        """What the judge reads before a row.

        Args:
            backwards: flags and dimensions in reverse order, to see whether their order matters.
        """
        lines = [self.task, "", "Statements:"]
        for name in self._ordered(self.flags, backwards):
            lines.append(f"- {name}: {self.flags[name].question}")
        lines += ["", "Questions:"]
        for name in self._ordered(self.dimensions, backwards):
            asked = self.dimensions[name]
            lines.append(f"- {name}: {asked.question}? 1: {asked.low}. 3: {asked.middle}. 5: {asked.high}.")
        return "\n".join([*lines, "", _REPLY])

    def schema(self, *, backwards: bool = False) -> str:
        """JSON schema of a reply, as text; its properties are written in the order in which they are asked."""
        flags = {name: {"type": "boolean"} for name in self._ordered(self.flags, backwards)}
        # An enumeration, which every backend of structured output knows; some ignore a minimum and a maximum.
        scores = {
            name: {"type": "integer", "enum": list(range(LOWEST, HIGHEST + 1))}
            for name in self._ordered(self.dimensions, backwards)
        }
        return json.dumps(
            {
                "type": "object",
                "properties": {**flags, **scores},
                "required": [*flags, *scores],
                "additionalProperties": False,
            }
        )

    def capped(self, scores: Mapping[str, int], flags: Mapping[str, bool]) -> dict[str, int]:
        """Scores, each at most what every flag that is set allows."""
        caps = [flag.caps for name, flag in self.flags.items() if flags[name]]
        return {
            name: min([score, *(cap[name] for cap in caps if name in cap)]) for name, score in scores.items()
        }

    def composites_of(self, scores: Mapping[str, float]) -> dict[str, float]:
        """Composites, from 0 to 100, of scores or of their means."""
        scale = 100 / (HIGHEST - LOWEST)
        return {
            name: scale * sum(weight * (scores[dimension] - LOWEST) for dimension, weight in weights.items())
            for name, weights in self.composites.items()
        }


@cache
def load_rubric(path: StrPath = RUBRIC) -> Rubric:
    """The rubric of a file; raises `BadInput` or `BadInputs` where it is missing or does not fit together."""
    values: dict[str, Any] = read_yaml(path)
    return read_settings(Rubric, values, file=path, docs="docs/judge.md")
