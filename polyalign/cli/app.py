"""The application that every command joins, and what the commands share."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="polyalign",
    help="PolyAlign: align language models to the conditional distribution of human answers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Folder = Annotated[Path, typer.Option("--out", help="Folder to write to.")]
LanguageModel = Annotated[
    Path | None, typer.Option("--lm", help="Model folder that scores LM features; none: text features only.")
]


class Language(StrEnum):
    """Languages of the corpora."""

    en = "en"
    zh = "zh"


class FeatureSet(StrEnum):
    """Feature sets; never compared with each other."""

    paper = "paper-v1"
    core = "core-v1"


def say(text: str) -> None:
    """Tell the user something; standard output stays for what a command prints."""
    print(text, file=sys.stderr)
