"""Files of the stages' environments: envs/*.yaml, in which every package is pinned, and containers of the same pins.

    python -m polyalign.workflow.environment_files            # part of `make lock`: writes envs/ from requirements/

A stage names the packages that it imports; what these need in turn is taken from what is installed here, which has
to be requirements/cpu.txt. Stages with torch come in three variants: CUDA (`train.yaml`), CPU (`train-cpu.yaml`)
and ROCm (`train-rocm.yaml`); a variant's torch names its build, so that none is taken for another.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from polyalign.digest import ROOT
from polyalign.errors import BadInput
from polyalign.files import write_text

Variant = Literal["cuda", "cpu", "rocm"]
VARIANTS: tuple[Variant, ...] = ("cuda", "cpu", "rocm")
PYTHON = "3.11"


@dataclass(frozen=True)
class Stage:
    """Packages that a stage's scripts import, beside those of every stage."""

    purpose: str
    packages: tuple[str, ...]
    torch: bool = True


_EVERY_STAGE = ("numpy", "pyarrow", "pydantic", "PyYAML", "tqdm")
STAGES = {
    "data": Stage(
        "corpora: fetching, formatting, deduplication, splits, views, pairs",
        ("duckdb", "huggingface_hub", "pandas", "rensa"),
        torch=False,
    ),
    "features": Stage(
        "text features, language-model features, bucket references",
        ("HanTa", "jieba", "nltk", "safetensors", "stopwordsiso", "transformers", "vaderSentiment"),
    ),
    "train": Stage(
        "base models, SFT, Bucket-SFT, DPO, HDPO, the critic",
        (
            "accelerate",
            "datasets",
            "huggingface_hub",
            "matplotlib",
            "pandas",
            "peft",
            "safetensors",
            "tokenizers",
            "transformers",
            "trl",
        ),
    ),
    "infer": Stage(
        "answers to every row of a split, detectors, judges",
        ("Jinja2", "llguidance", "openai", "safetensors", "tokenizers", "transformers"),
    ),
    "eval": Stage(
        "metrics, intervals, MAUVE, answers as vectors",
        ("faiss-cpu", "mauve-text", "nltk", "pandas", "RapidFuzz", "scikit-learn", "scipy", "transformers"),
    ),
    "report": Stage(
        "tables, figures, audits, distances of vectors, pages of the human evaluation and what annotators exported",
        ("choix", "krippendorff", "matplotlib", "pandas", "RapidFuzz", "scikit-learn", "scipy", "umap-learn"),
        torch=False,
    ),
}

_TORCH_INDEX = {
    "cpu": "https://download.pytorch.org/whl/cpu",
    "rocm": "https://download.pytorch.org/whl/rocm7.2",
}
_TORCH_BUILD = {"cpu": "+cpu", "rocm": "+rocm7.2"}


def variants_of(stage: str) -> tuple[Variant, ...]:
    """Variants of a stage's environment; one without torch is the same everywhere."""
    return VARIANTS if STAGES[stage].torch else ("cuda",)


def file_name(stage: str, variant: Variant) -> str:
    """`train.yaml`, `train-cpu.yaml`; one file for all variants where torch plays no part."""
    plain = variant == "cuda" or not STAGES[stage].torch
    return f"{stage}.yaml" if plain else f"{stage}-{variant}.yaml"


def locked_pins(lock: Path) -> dict[str, str]:
    """{package: requirement} of a lock file, names in their canonical form."""
    lines = [line.split("#")[0].strip() for line in lock.read_text(encoding="utf-8").splitlines()]
    return {canonicalize_name(Requirement(line).name): line for line in lines if line}


def _needed(packages: Iterable[str]) -> set[str]:
    """Canonical names of the packages and of all that they need on Linux, as installed here."""
    found: set[tuple[str, str]] = set()
    waiting = [(canonicalize_name(name), "") for name in packages]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in found:
            continue
        found.add((name, extra))
        try:
            requirements = distribution(name).requires or []
        except PackageNotFoundError:
            raise BadInput(f"{name} is not installed", fix="install requirements/cpu.txt first") from None
        for requirement in map(Requirement, requirements):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                needed = canonicalize_name(requirement.name)
                waiting += [(needed, ""), *((needed, asked) for asked in requirement.extras)]
    return {name for name, _ in found}


def pins(stage: str, variant: Variant) -> list[str]:
    """Lines for pip: every package of the environment with its version, and the index of a torch build.

    Raises:
        BadInput: a package is not installed here, or requirements/cpu.txt does not pin it.
    """
    if (stage, variant) == ("infer", "cuda"):  # vLLM pins its own torch, and with it everything
        return list(locked_pins(ROOT / "requirements" / "vllm-cuda.txt").values())
    locked = locked_pins(ROOT / "requirements" / "cpu.txt")
    of_stage = STAGES[stage]
    names = _needed([*_EVERY_STAGE, *of_stage.packages, *(["torch"] if of_stage.torch else [])])
    unknown = sorted(names - set(locked))
    if unknown:
        raise BadInput(f"no pin of {unknown[0]}", file="requirements/cpu.txt", fix="run `make lock`")
    lines = {name: locked[name] for name in names}
    if of_stage.torch and variant == "cuda":
        lines |= locked_pins(ROOT / "requirements" / "cuda.txt")
    if of_stage.torch and variant in _TORCH_INDEX:
        lines["torch"] += _TORCH_BUILD[variant]
    index = [f"--extra-index-url {_TORCH_INDEX[variant]}"] if "torch" in lines and variant != "cuda" else []
    return index + [lines[name] for name in sorted(lines)]


def conda_file(stage: str, variant: Variant) -> str:
    """Text of the stage's conda file: Python and pip by conda, all else by pip."""
    kind = {"cuda": "NVIDIA GPUs", "cpu": "CPUs", "rocm": "AMD GPUs"}[variant]
    title = f"{stage} on {kind}" if STAGES[stage].torch else stage
    listed = "\n".join(f"      - {line}" for line in pins(stage, variant))
    return f"""\
# {title}: {STAGES[stage].purpose}. Written by `make lock`.
name: polyalign-{Path(file_name(stage, variant)).stem}
channels:
  - conda-forge
  - nodefaults
dependencies:
  - python={PYTHON}
  - pip
  - pip:
{listed}
"""


def write_environment_files(folder: Path) -> list[Path]:
    """Write the conda file of every stage and variant; returns the files."""
    written = []
    for stage in STAGES:
        for variant in variants_of(stage):
            path = folder / file_name(stage, variant)
            write_text(path, conda_file(stage, variant))
            written.append(path)
    return written


if __name__ == "__main__":
    for written_file in write_environment_files(ROOT / "envs"):
        print(written_file.relative_to(ROOT))
