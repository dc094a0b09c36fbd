"""A Python environment for each stage where there is no conda: scripts start anew in the stage's own interpreter.

The configuration names virtual environments by stage (`environments: {infer: .venv-infer}`), the workflow announces
which rule belongs to which, and `enter_environment`, first thing in a rule's script, replaces the process by the
same script under that environment's Python.
"""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from polyalign.errors import BadInput
from polyalign.files import StrPath, sha256_file, sha256_json

VARIABLE = "POLYALIGN_ENVIRONMENTS"
_ENTERED = "POLYALIGN_ENTERED"


def python_of(environment: Path) -> Path:
    """The interpreter of a virtual (or conda) environment; `BadInput` where there is none."""
    python = environment / "bin" / "python"
    if not python.is_file():
        raise BadInput(
            "no Python environment here",
            file=environment,
            expected="bin/python",
            fix="make it as docs/workflow.md, Environments, says, or take it out of `environments`",
        )
    return python


def packages_digest(environment: StrPath) -> str:
    """Digest of the names and versions installed there: what a result owes to its environment.

    A container's packages are those that its image is built from (`polyalign.workflow.containers`).
    """
    python_of(Path(environment))
    pins = Path(environment) / "pins.txt"
    if pins.is_file():
        return sha256_file(pins)
    found = Path(environment).glob("lib/python*/site-packages/*.dist-info")
    return sha256_json(sorted(folder.name.removesuffix(".dist-info") for folder in found))


def announce(environments: Mapping[str, str], conda_files: Mapping[str, StrPath | None]) -> None:
    """Tell the scripts of rules their environments; jobs inherit it from this process.

    Args:
        environments: {stage: folder}.
        conda_files: {rule: its conda file or None}; the file's name up to a hyphen is the rule's stage.
    """
    stages = {rule: Path(str(file)).stem.split("-")[0] for rule, file in conda_files.items()}
    found = {rule: environments[stage] for rule, stage in stages.items() if stage in environments}
    os.environ[VARIABLE] = json.dumps(found)


def enter_environment(rule: str) -> None:
    """Go on in the environment of `rule`: replaces this process unless it runs there already.

    What Snakemake adds to the module search path for its own sake is taken off again, so that a package that
    the environment lacks is missing instead of being taken from another.
    """
    folder = json.loads(os.environ.get(VARIABLE, "{}")).get(rule)
    if folder is None:
        return
    if os.environ.get(_ENTERED) != folder:
        python = python_of(Path(folder))
        os.environ[_ENTERED] = folder
        os.execv(python, [str(python), *sys.orig_argv[1:]])
    own = Path(sys.prefix).resolve()
    sys.path[:] = [
        entry
        for entry in sys.path
        if "site-packages" not in entry or Path(entry).resolve().is_relative_to(own)
    ]
