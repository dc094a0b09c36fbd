"""Containers of the stages: what is written, and that a script starts in one as in any other environment."""

import os
import subprocess
import sys

import pytest

from polyalign.environments import packages_digest, python_of
from polyalign.errors import BadInput
from polyalign.workflow.containers import write_container
from polyalign.workflow.environment_files import pins

# Stands for Apptainer: shows what it was asked for, then runs the command here.
APPTAINER = """#!/bin/sh
echo "$@" >> "$CALLS"
while [ "$1" != python ]; do shift; done
shift
exec "{python}" "$@"
"""


def test_definition_installs_the_pins_and_nothing_else(tmp_path):
    definition, listed, _ = write_container("train", "rocm", tmp_path / "train")
    assert listed.read_text().splitlines() == pins("train", "rocm")
    text = definition.read_text()
    assert f"{tmp_path}/train/pins.txt /opt/polyalign/pins.txt" in text
    assert "--no-deps --requirement" in text
    assert "From: python:3.11-slim" in text


def test_a_stage_without_torch_has_one_set_of_pins(tmp_path):
    folders = [tmp_path / name for name in ("a", "b")]
    for folder, variant in zip(folders, ("cuda", "cpu"), strict=True):
        write_container("data", variant, folder)
    assert packages_digest(folders[0]) == packages_digest(folders[1])
    write_container("eval", "cpu", folders[1])
    assert packages_digest(folders[0]) != packages_digest(folders[1])


@pytest.mark.parametrize("variant, option", [("cuda", "--nv "), ("rocm", "--rocm "), ("cpu", "")])
def test_its_python_runs_in_the_image(tmp_path, variant, option):
    folder, calls = tmp_path / "train", tmp_path / "calls"
    write_container("train", variant, folder)
    (folder / "train.sif").touch()
    program = tmp_path / "bin" / "apptainer"
    program.parent.mkdir()
    program.write_text(APPTAINER.format(python=sys.executable))
    program.chmod(0o755)
    variables = {
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "CALLS": str(calls),
        "PYTHONPATH": "/checkout:/more",
    }
    command = [python_of(folder), "-c", "import sys; print(sys.argv[1])", "two words"]
    done = subprocess.run(command, cwd=tmp_path, env=variables, text=True, capture_output=True, check=True)
    assert done.stdout == "two words\n"
    assert calls.read_text().startswith(
        f"exec {option}--bind {tmp_path} --bind /checkout {folder}/train.sif python -c"
    )


def test_an_image_that_is_not_built_ends_in_one_line(tmp_path):
    write_container("train", "cuda", tmp_path)
    done = subprocess.run([python_of(tmp_path), "-V"], text=True, capture_output=True, check=False)
    assert done.returncode == 2
    assert done.stderr == (
        f"{tmp_path}/train.sif: no image; build it: apptainer build {tmp_path}/train.sif {tmp_path}/train.def\n"
    )


def test_an_unknown_stage_lists_them(tmp_path):
    with pytest.raises(BadInput, match=r"no stage .judge.[\s\S]*data, features, train"):
        write_container("judge", "cuda", tmp_path)
