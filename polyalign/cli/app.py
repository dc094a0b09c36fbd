"""The application that every command joins, and what the commands share."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from polyalign.errors import BadInput

app = typer.Typer(
    name="polyalign",
    help="PolyAlign: align language models to the conditional distribution of human answers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Language = Literal["en", "zh"]
FeatureSet = Literal["paper-v1", "core-v1"]
"""Never compared with each other."""
Folder = Annotated[Path, typer.Option("--out", help="Folder to write to.")]
LanguageModel = Annotated[
    Path | None, typer.Option("--lm", help="Model folder that scores LM features; none: text features only.")
]


def say(text: str) -> None:
    """Tell the user something; standard output stays for what a command prints."""
    print(text, file=sys.stderr)


def named_files(values: list[str]) -> dict[str, Path]:
    """{name: file} of `NAME=FILE` options; a file without a name goes by its stem."""
    found: dict[str, Path] = {}
    for value in values:
        name, mark, file = value.rpartition("=")
        name = name if mark else Path(value).stem
        if not name or not file:
            raise BadInput(
                f"found {value!r}", field="--predictions", expected="NAME=FILE", fix="name the system"
            )
        if name in found:
            raise BadInput(
                f"two systems are called {name!r}", field="--predictions", fix="NAME=FILE names each"
            )
        found[name] = Path(file)
    return found
