"""Environments: every pin of every stage and variant is locked, and each holds what its scripts import."""

import ast
import re
import sys
from importlib.metadata import packages_distributions

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from polyalign.digest import code_files, module_file
from polyalign.workflow.environment_files import STAGES, conda_file, file_name, locked_pins, pins, variants_of

VARIANTS = [(stage, variant) for stage in STAGES for variant in variants_of(stage)]


@pytest.mark.parametrize("stage, variant", VARIANTS)
def test_files_are_those_of_the_locks(root, stage, variant):
    text = (root / "envs" / file_name(stage, variant)).read_text()
    assert text == conda_file(stage, variant), "run `python -m polyalign.workflow.environment_files`"


def test_no_other_file_lies_beside_them(root):
    assert {path.name for path in (root / "envs").iterdir()} == {file_name(*each) for each in VARIANTS}


@pytest.mark.parametrize("stage, variant", VARIANTS)
def test_everything_is_pinned(root, stage, variant):
    dependencies = yaml.safe_load((root / "envs" / file_name(stage, variant)).read_text())["dependencies"]
    *by_conda, by_pip = dependencies
    assert by_conda == ["python=3.11", "pip"]
    (listed,) = by_pip.values()
    for line in listed:
        if not line.startswith("--extra-index-url https://download.pytorch.org/whl/"):
            (specifier,) = Requirement(line).specifier
            # vLLM's lock says why certifi has a lower bound alone.
            assert specifier.operator == "==" or line.startswith("certifi>="), line


def test_a_variant_names_the_build_of_its_torch():
    def torch(variant):
        return next(line for line in pins("train", variant) if line.startswith("torch=="))

    assert torch("cpu").endswith("+cpu")
    assert "+rocm" in torch("rocm")
    assert "+" not in torch("cuda")
    assert any(line.startswith("nvidia-cudnn") for line in pins("train", "cuda"))
    assert not any("nvidia" in line for variant in ("cpu", "rocm") for line in pins("train", variant))


def stages_of_scripts(root):
    """{script: stage}, from the rules."""
    found = {}
    for path in (root / "rules").glob("*.smk"):
        for block in re.split(r"(?m)^(?= *rule \w)", path.read_text())[1:]:
            script = re.search(r'script:\s+"\.\./(workflow_scripts/\w+\.py)"', block)
            if script:
                found[root / script.group(1)] = re.search(r'conda_file\("(\w+)"\)', block).group(1)
    return found


def imported(script):
    """Third-party modules that a script imports by being imported, through every module of polyalign it reaches.

    What a function imports is left out: it may be asked for in one engine or format alone.
    """
    names = set()
    for file in [script, *(module_file(name) for name in code_files(script) if name != script.name)]:
        tree = ast.parse(file.read_text())
        for node in tree.body:
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names.add(node.module.split(".")[0])
    return names - set(sys.stdlib_module_names) - {"polyalign", "snakemake"}


def test_scripts_find_what_they_import_in_their_environment(root):
    names = {
        module: {canonicalize_name(each) for each in found}
        for module, found in packages_distributions().items()
    }
    pinned = {
        each: {canonicalize_name(re.split("[=>]", line)[0]) for line in pins(*each)} for each in VARIANTS
    }
    lacking = {
        f"{script.name} ({stage} {variant}): {module}"
        for script, stage in stages_of_scripts(root).items()
        for module in imported(script)
        for variant in variants_of(stage)
        if not names[module] & pinned[stage, variant]
    }
    assert not lacking, sorted(lacking)


def test_vllm_builds_for_gpu_and_cpu_stay_close(root):
    """What the CPU build is tested for has to hold on GPUs: one minor version apart at most, same client."""
    versions = {
        name: {
            key: line.split("==")[-1]
            for key, line in locked_pins(root / "requirements" / f"{name}.txt").items()
        }
        for name in ("vllm-cuda", "vllm-cpu", "cpu")
    }
    gpu, cpu, main = versions["vllm-cuda"], versions["vllm-cpu"], versions["cpu"]
    assert abs(int(gpu["vllm"].split(".")[1]) - int(cpu["vllm-cpu"].split(".")[1])) <= 1
    for name in ("openai", "pyarrow", "pydantic", "tokenizers"):
        assert gpu[name] == cpu[name] == main[name], name
