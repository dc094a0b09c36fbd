"""The methods: what each is asked with, what it is made from, and how tables write it.

A cell of the grid is {language}_{method}_{model}. A further method is an entry here, a recipe and a rule;
CONTRIBUTING.md shows one.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from polyalign.errors import BadInput


@dataclass(frozen=True)
class Method:
    """A method.

    Attributes:
        prompt: mode of its prompts, see `polyalign.prompts`. With `oracle` the prompt shows the reference answer: the
            method has metrics of its own and stands in no table of methods.
        label: what tables and figures call it.
        is_trained: whether it has a checkpoint and a recipe of its own.
        made_from: methods whose models it starts from, takes its pairs from, or runs.
    """

    prompt: str
    label: str
    is_trained: bool = False
    made_from: tuple[str, ...] = ()


METHODS = {
    "base": Method("completion", "Base"),
    "cot": Method("cot", "CoT"),
    "sft": Method("plain", "SFT", is_trained=True),
    "bucketsft": Method("profile", "Bucket-SFT", is_trained=True),
    "dpo": Method("plain", "DPO", is_trained=True, made_from=("sft",)),
    "hdpo": Method("profile", "HDPO", is_trained=True, made_from=("sft", "bucketsft")),
    # The policy of HDPO with another prompt, not another model.
    "hdporef": Method("oracle", "HDPO, oracle", made_from=("hdpo",)),
}
"""Every method, in table order."""

TRAINED_METHODS = tuple(name for name, method in METHODS.items() if method.is_trained)
ORACLE_METHODS = tuple(name for name, method in METHODS.items() if method.prompt == "oracle")
TABLE_METHODS = tuple(name for name in METHODS if name not in ORACLE_METHODS)
"""Methods that stand beside each other in tables."""
HUMAN = "human"
"""Name of the human answers where they stand beside those of systems."""


def refuse_oracles(cells: Iterable[str]) -> None:
    """Raise `BadInput` where a cell is of a method that saw the reference answer; other names pass."""
    for cell in cells:
        if cell.split("_")[1:2] and cell.split("_")[1] in ORACLE_METHODS:
            raise BadInput(f"{cell} saw the reference answer", expected="methods alone", fix="leave it out")
