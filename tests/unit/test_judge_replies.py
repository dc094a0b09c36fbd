"""What a judge reads and says: rows joined to answers, the draw of rows, and replies, without a model."""

import json
from pathlib import Path

import pytest
from model_families import record_of

from polyalign.errors import BadInputs
from polyalign.files import write_jsonl
from polyalign.judge.replies import counts, judged_row, read_reply
from polyalign.judge.rows import draw_rows, join_rows, of_shard, probed
from polyalign.judge.rubric import Rubric, load_rubric
from tests.judge_world import BUCKETS, NO_FLAGS, all_of


@pytest.fixture
def rubric() -> Rubric:
    return load_rubric()


def write_split(folder: Path, count: int = 12) -> Path:
    records = [
        record_of(index, bucket_id=BUCKETS[index % 3], dataset=("dolly", "coqa")[index % 2])
        for index in range(count)
    ]
    write_jsonl(folder / "records.jsonl", records)
    return folder / "records.jsonl"


def write_predictions(folder: Path, count: int = 12, shift: int = 0, **changes) -> Path:
    rows = [
        {"source_index": index, "id": f"row-{index + shift}", "prediction": f"It is {index}.", **changes}
        for index in range(count)
    ]
    write_jsonl(folder / "predictions.jsonl", rows)
    return folder / "predictions.jsonl"


def joined(folder: Path, **changes):
    return join_rows(write_split(folder), write_predictions(folder, **changes))


class TestRows:
    def test_a_shifted_prediction_file_is_refused_row_by_row(self, tmp_path):
        with pytest.raises(BadInputs) as error:
            joined(tmp_path, shift=1)
        lines = str(error.value).splitlines()
        assert len(lines) == 12
        assert "predictions.jsonl, row 1, id row-0, field 'id': 'row-1' is not what row 0 holds" in lines[0]

    @pytest.mark.parametrize(
        "changes, named",
        [
            ({"instruction": "What is number 3?"}, "field 'instruction'"),
            ({"reference_output": "It is 0."}, "field 'reference_output'"),
            ({"language": "zh"}, "field 'language'"),
            ({"id": None}, "field 'id': no id"),
        ],
    )
    def test_any_repeated_field_must_be_the_records(self, tmp_path, changes, named):
        with pytest.raises(BadInputs, match=named):
            joined(tmp_path, **changes)

    def test_a_row_without_an_answer_stays_without_one(self, tmp_path):
        assert joined(tmp_path, count=11)[-1].answer is None
        assert {row.answer for row in joined(tmp_path, finish_reason="error")} == {None}

    def test_the_draw_is_stratified_and_hangs_on_the_records_alone(self, tmp_path):
        rows = joined(tmp_path)
        drawn = draw_rows(rows, 6, seed=3)
        assert sorted(row.bucket_id for row in drawn) == sorted(BUCKETS * 2)
        others = draw_rows(joined(tmp_path, count=4), 6, seed=3)
        assert [row.source_index for row in drawn] == [row.source_index for row in others]
        assert probed(drawn, 3, 3) <= {row.source_index for row in drawn}
        assert probed(drawn, 0, 3) == frozenset()
        shards = [of_shard(drawn, (number, 4)) for number in (1, 2, 3, 4)]
        assert sorted(row.source_index for shard in shards for row in shard) == [
            row.source_index for row in drawn
        ]


class TestReplies:
    def reply(self, rubric, **changes) -> str:
        return json.dumps({**NO_FLAGS, **all_of(rubric, 4), **changes})

    def test_a_whole_reply_is_read(self, rubric):
        found = read_reply(self.reply(rubric, wrong_language=True, safety=1), "stop", rubric)
        assert found.flags == {**NO_FLAGS, "wrong_language": True}
        assert found.scores == {**all_of(rubric, 4), "safety": 1}

    @pytest.mark.parametrize(
        "changes, reason",
        [
            ({"safety": 0}, "out_of_range"),
            ({"safety": 6}, "out_of_range"),
            ({"safety": 4.0}, "unparsable"),
            ({"safety": "4"}, "unparsable"),
            ({"safety": True}, "unparsable"),
            ({"wrong_language": 1}, "unparsable"),
            ({"comment": "good"}, "unparsable"),
        ],
    )
    def test_a_reply_with_a_wrong_value_counts_for_nothing(self, rubric, changes, reason):
        assert read_reply(self.reply(rubric, **changes), "stop", rubric) == reason

    @pytest.mark.parametrize(
        "text, finish, reason",
        [
            ("", "error", "too_long"),
            ('{"wrong_language": tr', "length", "cut"),
            ("Good answer: 5 of 5.", "stop", "unparsable"),
            ("[1, 2]", "stop", "unparsable"),
            ("{}", "stop", "unparsable"),
        ],
    )
    def test_what_is_no_reply_has_its_reason(self, rubric, text, finish, reason):
        assert read_reply(text, finish, rubric) == reason

    def test_an_error_row_has_no_score_and_keeps_the_reply(self, rubric, tmp_path):
        row = joined(tmp_path)[0]
        said = {"text": "no", "finish_reason": "stop", "prompt_tokens": 9, "completion_tokens": 1}
        found = judged_row(row, said, rubric, "asked")
        assert (found["error"], found["reply"], found["scores"]) == ("unparsable", "no", None)
        assert counts([found, judged_row(row, None, rubric, "asked")]) == {
            "rows": 2,
            "scored": 0,
            "errors": {"no_answer": 1, "unparsable": 1},
            "flags": {},
            "capped": 0,
        }

    def test_an_empty_answer_is_flagged_whatever_the_judge_says(self, rubric, tmp_path):
        row = joined(tmp_path, prediction=" \n")[0]
        said = {
            "text": self.reply(rubric),
            "finish_reason": "stop",
            "prompt_tokens": 9,
            "completion_tokens": 1,
        }
        found = judged_row(row, said, rubric, "asked")
        assert found["flags"]["empty_or_unintelligible"]
        assert found["reported"]["task_success"] == 4
        assert found["scores"]["task_success"] == 1
        assert found["composites"] == rubric.composites_of(found["scores"])
