"""How answers are decoded: one setting for every method (ours), or the published ones (`paper`).

Definitions: docs/method.md, Decoding.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from polyalign.errors import BadInput
from polyalign.files import sha256_json
from polyalign.records import LENGTH_BINS
from polyalign.settings import Settings

Positive = Annotated[int, Field(gt=0)]


class Decoding(Settings):
    """Decoding settings. The defaults are ours: sampling, no penalties, room for the longest answers."""

    max_new_tokens: dict[Literal["short", "medium", "long", "xlong"], Positive] = Field(
        {"short": 64, "medium": 192, "long": 384, "xlong": 768},
        description="most tokens of an answer, by the record's length bin; one number means every bin",
    )
    reasoning_tokens: int = Field(
        512,
        ge=0,
        description="tokens added for the reasoning of a cot prompt, which is no part of the answer",
    )
    temperature: float = Field(0.7, ge=0, description="0 is greedy")
    top_p: float = Field(0.95, gt=0, le=1, description="share of probability mass that is sampled from")
    repetition_penalty: float = Field(
        1.0,
        gt=0,
        description="divides positive and multiplies negative logits of tokens in prompt and answer",
    )
    frequency_penalty: float = Field(
        0.0, ge=-2, le=2, description="taken off a logit for each time its token stands in the answer so far"
    )
    seed: int = Field(42, ge=0, description="seed of sampling; each row draws its own numbers from it")
    cleanup: Literal["none", "published"] = Field(
        "none", description="published: cut answers at role markers, as the published outputs were"
    )

    @model_validator(mode="before")
    @classmethod
    def _one_number_for_every_bin(cls, value: Any) -> Any:
        # A number on Snakemake's command line arrives as text.
        if isinstance(value, Mapping) and isinstance(value.get("max_new_tokens"), int | str):
            return {**value, "max_new_tokens": dict.fromkeys(LENGTH_BINS, value["max_new_tokens"])}
        return value

    @model_validator(mode="after")
    def _every_bin(self) -> "Decoding":
        missing = [name for name in LENGTH_BINS if name not in self.max_new_tokens]
        if missing:
            raise ValueError(f"max_new_tokens lacks the length bins {', '.join(missing)}")
        return self

    @property
    def greedy(self) -> bool:
        """True when the most likely token is always taken."""
        return self.temperature == 0

    def answer_limit(self, length_bin: str, mode: str) -> int:
        """Most new tokens for a row of `length_bin` asked in prompt mode `mode`."""
        return self.max_new_tokens[length_bin] + (self.reasoning_tokens if mode == "cot" else 0)

    def digest(self) -> str:
        """SHA-256 of the settings: two tables cells with the same digest were decoded alike."""
        return sha256_json(self.model_dump())


def _paper(
    max_new_tokens: int | dict[str, int],
    temperature: float,
    top_p: float,
    repetition_penalty: float,
    frequency_penalty: float,
) -> Decoding:
    return Decoding.model_validate(
        {
            "max_new_tokens": max_new_tokens,
            "reasoning_tokens": 0,
            "temperature": temperature,
            "top_p": top_p,
            "repetition_penalty": repetition_penalty,
            "frequency_penalty": frequency_penalty,
            "cleanup": "published",
        }
    )


_PAPER_BASE = _paper(48, 0.1, 0.9, 1.1, 0.1)
# 512 for every row, and by bin at most 256, 512, 1024 and 1536: only the first of these bounds binds.
_PAPER_COT = _paper({"short": 256, "medium": 512, "long": 512, "xlong": 512}, 0.3, 0.95, 1.08, 0.0)
_PAPER_SFT = _paper(128, 0.2, 0.95, 1.12, 0.2)
_PAPER_DPO = _paper(128, 0.0, 1.0, 1.05, 0.0)

PAPER_DECODINGS: dict[str, Decoding] = {
    "base": _PAPER_BASE,
    "cot": _PAPER_COT,
    "sft": _PAPER_SFT,
    "bucketsft": _PAPER_SFT,
    "dpo": _PAPER_DPO,
    "hdpo": _PAPER_DPO,
    "hdporef": _PAPER_DPO,
}
"""The published decoding of each method (`paper`; arXiv 2606.13227)."""


def paper_decoding(method: str) -> Decoding:
    """The published decoding of `method`; raises `BadInput` for an unknown one."""
    if method not in PAPER_DECODINGS:
        raise BadInput(
            f"no published decoding of method {method!r}", expected=f"one of {', '.join(PAPER_DECODINGS)}"
        )
    return PAPER_DECODINGS[method]
