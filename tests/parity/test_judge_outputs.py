"""Real Chinese outputs of twenty systems before a judge: joined, rendered in one form, refused beside other rows."""

import re
from collections import defaultdict

import pytest

from polyalign.errors import BadInputs
from polyalign.files import read_jsonl, write_jsonl
from polyalign.judge.rows import draw_rows, join_rows
from polyalign.judge.rubric import load_rubric
from polyalign.prompts import judge_messages

TAG = re.compile(r"</?(?:profile|conversation|reference|answer)>")


@pytest.fixture(scope="module")
def systems(shared) -> dict[str, list[dict]]:
    """{system: rows}, each with the row numbers of a split of its own."""
    found = defaultdict(list)
    for _, row in read_jsonl(shared / "data/zh_outputs/outputs.jsonl"):
        found[row["prediction_model_name"]].append(row)
    return {
        name: [
            {**row, "source_index": number, "dialogue_history": [], "meta": {}}
            for number, row in enumerate(rows)
        ]
        for name, rows in found.items()
    }


def write(folder, rows, answers):
    """(records, predictions that repeat what published ones repeat)."""
    write_jsonl(folder / "records.jsonl", rows)
    repeated = ("source_index", "id", "dataset", "language", "bucket_id", "prediction")
    write_jsonl(
        folder / "predictions.jsonl",
        [
            {
                **{name: row[name] for name in repeated},
                "source_index": place,
                "instruction": row["question"],
                "input": row["context"],
                "reference_output": row["human_answer"],
            }
            for place, row in enumerate(answers)
        ],
    )
    return folder / "records.jsonl", folder / "predictions.jsonl"


def test_every_output_is_shown_beside_its_own_prompt(systems, tmp_path):
    rubric = load_rubric().text()
    shown = 0
    for rows in systems.values():
        for row in join_rows(*write(tmp_path, rows, rows)):
            user = judge_messages(rubric, row.record, row.answer)[1]["content"]
            assert len(TAG.findall(user)) == 8
            assert user.endswith(f"<answer>\n{row.answer.strip()}\n</answer>") or TAG.search(row.answer)
            assert f"language=zh; family={row.record['family']}" in user
            assert " ".join(row.record["question"].split())[:20] in " ".join(user.split())
            shown += 1
        assert {row.record["dataset"] for row in draw_rows(join_rows(*write(tmp_path, rows, rows)), 8, 1)}
    assert shown == 400


def test_outputs_shifted_by_a_row_are_refused(systems, tmp_path):
    rows = max(systems.values(), key=len)
    with pytest.raises(BadInputs) as error:
        join_rows(*write(tmp_path, rows, rows[1:] + rows[:1]))
    assert "is not what row 0 holds" in str(error.value).splitlines()[0]
    # Ids, data sets and buckets set right, as in the published judge files: the other fields still tell.
    kept = ("id", "dataset", "bucket_id")
    answers = [
        {**other, **{name: row[name] for name in kept}}
        for row, other in zip(rows, rows[1:] + rows[:1], strict=True)
    ]
    with pytest.raises(BadInputs, match="field 'instruction'"):
        join_rows(*write(tmp_path, rows, answers))
