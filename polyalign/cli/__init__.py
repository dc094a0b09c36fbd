"""Command line: the same functions as the workflow's rules, for data that is not from the workflow.

Every command ends bad input with one line a problem and exit code 2, and leaves nothing half-written.
"""

import sys

# Commands join the application, and stand in --help, in the order of these imports.
from polyalign.cli.app import app, say

from polyalign.cli import data, features, reports, judge, embeddings, human_eval, workflow  # isort: skip
from polyalign.errors import EXIT_CODE, PolyAlignError, storage_problem

__all__ = ["app", "data", "embeddings", "features", "human_eval", "judge", "main", "reports", "workflow"]

_LIST_OPTIONS = {
    "human-eval": ("--predictions", "--mode", "--metrics", "--judges"),
    "detect": ("--model",),
    "embeddings": ("--predictions", "--projection"),
    "status": ("--configfile",),
    "evaluate": ("--common-rows",),
    "tables": ("--metrics",),
    "references": ("--records", "--features"),
}


def _with_repeated_options(arguments: list[str]) -> list[str]:
    """Let list options take several values at once: `--metrics a b` becomes `--metrics a --metrics b`."""
    listed = _LIST_OPTIONS.get(arguments[0], ()) if arguments else ()
    expanded: list[str] = []
    option: str | None = None
    for argument in arguments:
        if argument.startswith("-"):
            option = argument if argument in listed else None
        elif option is not None and expanded[-1] != option:
            expanded.append(option)
        expanded.append(argument)
    return expanded


def main() -> None:
    """Run the command line; bad input ends with its lines on standard error and exit code 2."""
    try:
        app(args=_with_repeated_options(sys.argv[1:]), prog_name="polyalign")
    except PolyAlignError as error:
        say(str(error))
        sys.exit(EXIT_CODE)
    except OSError as error:
        if (problem := storage_problem(error)) is None:
            raise
        say(str(problem))
        sys.exit(EXIT_CODE)
