"""docs/architecture.md: in step with the code, and true to what Snakemake itself makes of the rules."""

import re

import pytest

from polyalign.workflow.architecture_page import GENERATED, room_imports
from polyalign.workflow.rule_files import Rule, read_rules, rule_edges


@pytest.fixture(scope="module")
def rules(root) -> list[Rule]:
    return read_rules(root)


@pytest.mark.parametrize("name", GENERATED, ids=str)
def test_page_and_picture_are_in_step_with_the_code(root, name):
    text = (root / name).read_text(encoding="utf-8")
    assert text == GENERATED[name](), "run `python -m polyalign.workflow.architecture_page`"


def test_the_edges_hold_those_that_snakemake_sees(snakemake, tmp_path, rules):
    done = snakemake(
        "--profile", "profiles/demo", "--directory", tmp_path, "--rulegraph",
        "--", "tables", "detection", "views", "human_eval",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    names = dict(re.findall(r'(\d+)\[label = "(\w+)', done.stdout))
    seen = {(names[start], names[end]) for start, end in re.findall(r"(\d+) -> (\d+)", done.stdout)}
    assert len(seen) > 60
    ours = rule_edges(rules)
    assert seen - ours == set()
    # Wildcards that Snakemake tells apart by their constraints alone may join a few more.
    further = {edge for edge in ours - seen if set(edge) <= set(names.values())}
    assert len(further) < len(seen) / 8, further


def test_every_rule_leads_to_a_script_and_a_function(root, rules):
    with_script = [rule for rule in rules if rule.script]
    assert {rule.script for rule in with_script} == {
        f"workflow_scripts/{path.name}" for path in (root / "workflow_scripts").glob("*.py")
    }
    assert [rule.name for rule in with_script if not rule.calls or not rule.outputs] == []


def test_an_artifact_leads_to_its_function(root):
    page = (root / "docs/architecture.md").read_text(encoding="utf-8")
    row, of_a_language = [
        line
        for line in page.splitlines()
        if line.startswith("| `results/metrics/{lang}_{method}_{model}.json`")
    ]
    assert "`evaluate_language`" in of_a_language
    for part in (
        "`evaluate_predictions`",
        "workflow_scripts/evaluate_predictions.py",
        "polyalign/metrics/evaluate.py",
    ):
        assert part in row


def test_imports_are_those_of_the_package(root):
    imports = room_imports()
    assert "metrics" in imports["tables"]
    assert "tables" not in imports["metrics"]
    assert "snakemake" not in {name for names in imports.values() for name in names}
