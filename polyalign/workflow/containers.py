"""Apptainer definitions of the stages' environments, from the pins of their conda files.

`write_container` makes a folder that the configuration can name in `environments`: its `bin/python` starts Python
in the image, which the user builds; nothing here runs Apptainer.
"""

from pathlib import Path

from polyalign.errors import BadInput
from polyalign.files import write_text
from polyalign.workflow.environment_files import PYTHON, STAGES, Variant, pins, variants_of

_GPU_OPTION = {"cuda": " --nv", "rocm": " --rocm", "cpu": ""}

_DEFINITION = """\
Bootstrap: docker
From: python:{python}-slim

%labels
    polyalign.stage {stage}
    polyalign.variant {variant}

%files
    {folder}/pins.txt /opt/polyalign/pins.txt

%post
    # Triton compiles kernels when a model first runs.
    apt-get update && apt-get install --yes --no-install-recommends gcc g++ libc6-dev && rm -rf /var/lib/apt/lists/*
    # Every package is listed; pip has nothing to choose.
    pip install --no-cache-dir --no-deps --requirement /opt/polyalign/pins.txt

%environment
    export PYTHONNOUSERSITE=1

%test
    python -m pip check || echo "pip check: see above"
    python -c 'import numpy, pyarrow, pydantic, yaml'

%runscript
    exec python "$@"
"""

_PYTHON = """\
#!/bin/sh
# Python of the image beside this folder; name further folders that jobs need in APPTAINER_BIND.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
if [ ! -f "$here/{stage}.sif" ]; then
    echo "$here/{stage}.sif: no image; build it: apptainer build $here/{stage}.sif $here/{stage}.def" >&2
    exit 2
fi
exec apptainer exec{gpu} --bind "$PWD" --bind "${{PYTHONPATH%%:*}}" "$here/{stage}.sif" python "$@"
"""


def write_container(stage: str, variant: Variant, folder: Path) -> list[Path]:
    """Write `{stage}.def`, `pins.txt` and `bin/python` to `folder`; returns the files.

    Args:
        stage: a stage of `polyalign.workflow.environment_files.STAGES`.
        variant: cuda, cpu or rocm; a stage without torch is the same for all.
        folder: as the user names it; the definition is built from where that name leads to it.

    Raises:
        BadInput: no such stage.
    """
    if stage not in STAGES:
        raise BadInput(f"no stage {stage!r}", expected=", ".join(STAGES))
    own = variant if variant in variants_of(stage) else "cuda"
    gpu = _GPU_OPTION[variant] if STAGES[stage].torch else ""
    definition = _DEFINITION.format(python=PYTHON, stage=stage, variant=variant, folder=folder)
    texts = {
        f"{stage}.def": definition,
        "pins.txt": "".join(f"{line}\n" for line in pins(stage, own)),
        "bin/python": _PYTHON.format(stage=stage, gpu=gpu),
    }
    for name, text in texts.items():
        write_text(folder / name, text)
    (folder / "bin" / "python").chmod(0o755)
    return [folder / name for name in texts]
