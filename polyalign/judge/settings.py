"""Settings of the judges: which models judge, how many rows, and what is asked twice to see how steady they are.

A judge is a key of `models`; what the probes are is told in docs/judge.md.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from polyalign.inference.decoding import Decoding
from polyalign.inference.engine import EngineSettings
from polyalign.settings import Settings, nearest

ASKED = "asked"
"""The way in which every row is asked."""
PROBES = ("repeat", "answer_first", "backwards", "quoted")
"""Ways in which some rows are asked again; nothing that matters differs."""
WAYS = (ASKED, *PROBES)
"""Ways in which a row is asked; a request's number is source_index * len(WAYS) + place of its way."""
ProbeName = Literal["repeat", "answer_first", "backwards", "quoted"]
Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(gt=0, lt=1)]
_KINDS = "a model of the hub, one built here, or a stand_in of kind judge"


class Judges(Settings):
    """Language models that judge answers by the rubric."""

    run: list[str] = Field([], description="keys of `models` that judge, in table order")
    rows: Positive | None = Field(
        None,
        description="test rows that are judged, a seeded draw from every bucket, the same for all; null: all",
    )
    probed_rows: int = Field(200, ge=0, description="rows of a cell, of those judged, that are asked again")
    probes: list[ProbeName] = Field(
        list(PROBES),
        description="how they are asked again: as before, answer before reference, questions backwards, answer in "
        "quotation marks",
    )
    job: Literal["cell", "language"] = Field(
        "cell",
        description="work of one job: a judge on a cell, or everything of a language, for models that take longer "
        "to load than to run",
    )
    shards: Positive = Field(
        1, description="jobs that share the rows of a judge and a cell, where job is cell"
    )
    temperature: float = Field(0.0, ge=0, description="of the judge's answers; 0 is greedy")
    max_new_tokens: Positive = Field(320, description="room for a reply; a row without it is too long")
    max_length: Positive | None = Field(
        16384, description="most tokens of prompt and reply; null: what the judge's positions allow"
    )
    engine: EngineSettings | None = Field(None, description="engine of the judges; null: that of `inference`")
    bootstrap: int = Field(1000, ge=0, description="replicates of every mean; 0: no intervals")
    confidence: Share = Field(0.95, description="level of the intervals")

    def asking(self) -> dict[str, Any]:
        """What replies depend on, as plain values; statistics and the number of jobs are left out."""
        names = {"rows", "probed_rows", "probes", "temperature", "max_new_tokens", "max_length"}
        return self.model_dump(include=names)

    def statistics(self) -> dict[str, Any]:
        """What the summaries depend on, as plain values."""
        return self.model_dump(include={"bootstrap", "confidence"})

    def decoding(self, seed: int) -> Decoding:
        """How replies are decoded: without nucleus and penalties."""
        return Decoding.model_validate(
            {
                "max_new_tokens": self.max_new_tokens,
                "temperature": self.temperature,
                "top_p": 1.0,
                "seed": seed,
            }
        )


def check_judges(judges: Judges, models: Mapping[str, Any]) -> None:
    """Raise ValueError unless every judge is a model that can be asked.

    Args:
        models: `polyalign.base_models.Model` by key.
    """
    if len(set(judges.run)) < len(judges.run):
        raise ValueError(f"judges.run: a judge stands twice in {judges.run}")
    if judges.job == "language" and judges.shards > 1:
        raise ValueError(
            "judges.shards: job `language` is one job; set judges.job to cell, or leave shards at 1"
        )
    for name in judges.run:
        if name not in models:
            raise ValueError(f"judges.run: no model {name!r}; {nearest(name, list(models))}")
        model = models[name]
        if model.stand_in is not None:
            if model.stand_in.kind != "judge":
                raise ValueError(f"judges.run: {name} stands in for a detector's model; name {_KINDS}")
        elif model.chat_template is None:
            raise ValueError(f"models.{name}.chat_template: a judge needs one")
