"""Environments: the pins of every stage are those the tests ran with."""

import re

import yaml


def test_stage_pins_agree_with_the_lock(root):
    lock = dict(
        re.findall(r"^([\w.-]+)==(\S+)$", (root / "requirements/cpu.txt").read_text(), flags=re.MULTILINE)
    )
    lock = {name.lower(): version for name, version in lock.items()}
    files = sorted((root / "envs").glob("*.yaml"))
    assert files
    for file in files:
        dependencies = yaml.safe_load(file.read_text())["dependencies"]
        pip = next(item["pip"] for item in dependencies if isinstance(item, dict))
        for pin in pip:
            name, version = pin.split("==")
            assert lock.get(name.lower()) == version, (
                f"{file.name}: {pin}, but the lock has {lock.get(name.lower())}"
            )


def test_every_environment_is_used_and_every_used_one_is_there(root):
    used = set()
    for path in (root / "rules").glob("*.smk"):
        used |= set(re.findall(r"envs/(\w+)\.yaml", path.read_text()))
    assert used == {path.stem for path in (root / "envs").glob("*.yaml")}
