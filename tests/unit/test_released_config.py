"""What the configuration says of released artifacts: cells that can be made, and mistakes in one line."""

import copy
from typing import Any

import pytest

from polyalign.config import Config, check_targets, load_config
from polyalign.errors import BadInput, BadInputs
from polyalign.released import Place

FILE = {"hub": "owner/data", "file": "runs/a/predictions.jsonl"}
VALUES: dict[str, Any] = {
    "grid": {"languages": ["en"], "methods": ["base", "sft"], "models": ["llama3b"]},
    "corpora": {"en": ["dolly"]},
    "models": {"llama3b": {"hub": "owner/model", "chat_template": "llama3.2"}},
}


def load(**changes: Any) -> Config:
    return load_config({**copy.deepcopy(VALUES), **changes}, "mine.yaml")


def mistake(**changes: Any) -> str:
    with pytest.raises(BadInputs) as error:
        load(**changes)
    (line,) = str(error.value).splitlines()
    return line


@pytest.mark.parametrize(
    "cells, message",
    [
        ({"en_spt_llama3b": {}}, "no method 'spt', did you mean 'sft'?"),
        (
            {"en_sft_llama3b": {"source": "predictions"}},
            "source is predictions, but no `predictions` says where",
        ),
        ({"en_sft_llama3b": {"source": "cached"}}, "'train', 'checkpoint' or 'predictions'"),
        ({"en_sft_llama3b": {"sourse": "train"}}, "did you mean 'source'?"),
        ({"en_sft_llama3b": {"checkpoint": {"hub": "owner"}}}, "cells.en_sft_llama3b.checkpoint.hub"),
        ({"en_sft_llama3b": {"checkpoint": {"hub": "o/m", "path": "m"}}}, "exactly one of `hub` and `path`"),
        ({"en_sft_llama3b": {"checkpoint": {"hub": "o/m", "file": "a"}}}, "without `file`"),
        ({"en_sft_llama3b": {"predictions": {"hub": "o/m"}}}, "`file` names no .jsonl file"),
        ({"en_cot_llama3b": {"checkpoint": {"hub": "o/m"}}}, "cot has no checkpoint of its own"),
        ({"en_hdporef_llama3b": {"checkpoint": {"hub": "o/m"}}}, "give it to hdpo"),
        (
            {
                "en_hdpo_llama3b": {
                    "predictions": {"hub": "o/d", "file": "hdpo-ref-conditioned/predictions.jsonl"}
                }
            },
            "shows the reference answer; give it to en_hdporef_llama3b",
        ),
    ],
)
def test_cells_that_make_no_sense(cells: dict[str, Any], message: str):
    assert message in mistake(cells=cells)


def test_a_model_trained_from_predictions_alone_is_refused():
    cells = {"en_sft_llama3b": {"source": "predictions", "predictions": FILE}}
    grid = {"languages": ["en"], "methods": ["sft", "dpo"], "models": ["llama3b"]}
    message = mistake(grid=grid, cells=cells)
    assert (
        "cells.en_sft_llama3b: source predictions gives no model, and en_dpo_llama3b is made from it"
        in message
    )
    assert load(grid=grid, cells={**cells, "en_dpo_llama3b": {"source": "predictions", "predictions": FILE}})
    # Outside the grid the target says what is wanted.
    config = load(cells=cells)
    check_targets(["results/metrics/en_sft_llama3b.json"], config)
    for target in (
        "results/metrics/en_dpo_llama3b.json",
        "results/checkpoints/en_hdpo_llama3b/manifest.json",
    ):
        with pytest.raises(BadInput, match="gives no model"):
            check_targets([target], config)


def test_released_records_leave_out_what_they_do_not_hold():
    records = {"en": {"test": {"path": "current/test.jsonl"}}}
    assert "references.splits: no train among the released_records of en" in mistake(released_records=records)
    references = {"splits": ["test"]}
    assert "released_records.en: no train split to train en_sft_llama3b on" in mistake(
        released_records=records, references=references
    )
    cells = {"en_sft_llama3b": {"source": "checkpoint", "checkpoint": {"hub": "owner/model"}}}
    config = load(released_records=records, references=references, cells=cells)
    assert config.released_files() == {"en_records_test": Place(path="current/test.jsonl")}


def test_a_mirror_stands_for_the_hub_and_not_for_local_places():
    config = load(released_mirror="/mirror")
    assert config.mirrored(Place(hub="owner/data", file="a.jsonl")) == Place(
        path="/mirror/owner/data", file="a.jsonl"
    )
    assert config.mirrored(Place(path="here")) == Place(path="here")
    assert load().mirrored(Place(hub="owner/data")) == Place(hub="owner/data")
