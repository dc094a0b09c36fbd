"""What every rule that runs a script must say, read from the rule files themselves."""

import re

import pytest


def blocks(root):
    """(file name, rule name, text) of every rule."""
    for path in sorted((root / "rules").glob("*.smk")):
        for block in re.split(r"(?m)^(?= *rule \w)", path.read_text())[1:]:
            yield path.name, re.match(r" *rule (\w+)", block).group(1), block


@pytest.mark.parametrize(
    "pattern, what",
    [
        (r'script:\s+"\.\./workflow_scripts/{rule}\.py"', "the script of its own name"),
        (r'code=code_digest\("{rule}"\)', "a digest of its code"),
        (r'environment=environment_digest\("{stage}"\)', "a digest of its environment"),
        (r'conda:\s+conda_file\("{stage}"\)', "a conda environment"),
        (r"manifest=", "a manifest"),
        (r"log:", "a log"),
        (r"benchmark:", "a benchmark"),
        (r"mem_mb=growing\(", "memory that grows with retries"),
        (r"runtime=growing\(", "time that grows with retries"),
    ],
)
def test_every_rule_with_a_script_states(root, pattern, what):
    lacking = []
    for file, rule, text in blocks(root):
        if "script:" not in text:
            continue
        stage = re.search(r'conda_file\("(\w+)"\)', text)
        wanted = pattern.format(rule=rule, stage=stage and stage.group(1))
        if not re.search(wanted, text):
            lacking.append(f"{file}: {rule}")
    assert not lacking, f"no {what}: {lacking}"


def test_every_script_has_its_rule(root):
    rules = {rule for _, rule, _ in blocks(root)}
    assert {path.stem for path in (root / "workflow_scripts").glob("*.py")} <= rules
