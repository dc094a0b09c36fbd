"""Prompt texts against the published definitions: history pairs, LM condition prefix, profile system prompt."""

import gzip
import hashlib
import json

import pytest

from polyalign.prompts import condition_prefix, history_pairs, profile_system_prompt


def kit_rows(shared, language, name):
    with gzip.open(shared / "data/parity" / language / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_history_cases(shared, language):
    expected = json.loads((shared / "data/parity" / language / "expected_text.json").read_text("utf-8"))
    assert len(expected["history_cases"]) == 80
    for case in expected["history_cases"]:
        record = case["record"]
        pairs = history_pairs(record["dialogue_history"], record["question"])
        assert pairs == case["llamafactory_pairs"]
        assert condition_prefix(record) == case["lm_condition_prefix"]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_system_prompt_and_history_of_every_row(shared, language):
    records = kit_rows(shared, language, "current")
    expected = kit_rows(shared, language, "expected_rows")
    for record, row in zip(records, expected, strict=True):
        assert record["id"] == row["id"]
        assert profile_system_prompt(record) == row["system"]
        pairs = history_pairs(record["dialogue_history"], record["question"])
        assert len(pairs) == row["n_history_pairs"]
        text = json.dumps(pairs, ensure_ascii=False)
        assert hashlib.sha1(text.encode()).hexdigest() == row["history_sha1"]
