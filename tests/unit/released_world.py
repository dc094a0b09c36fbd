"""A repository of released artifacts in the published layout, made here: records and predictions of any kind."""

from pathlib import Path
from typing import Any

from metrics_world import make_records, predict

from polyalign.files import write_jsonl
from polyalign.prompts import history_pairs

HUB = "owner/released"
RECORDS = "english/current/test.jsonl"
PUBLISHED_KEYS = (
    "source_index",
    "instruction",
    "input",
    "history",
    "reference_output",
    "prompt",
    "model_name",
    "prediction",
    "finish_reason",
    "usage",
)


def released_row(index: int, record: dict, text: str, *, oracle: bool = False) -> dict[str, Any]:
    """A row as the published runners wrote it."""
    answer = record["human_answer"]
    shown = f"\n\nReference answer:\n{answer}" if oracle else ""
    return {
        "source_index": index,
        "instruction": record["question"],
        "input": record["context"],
        "history": history_pairs(record["dialogue_history"], record["question"]),
        "reference_output": answer,
        "prompt": f"Context:\n{record['context']}\n\nQuestion:\n{record['question']}{shown}",
        "model_name": "tiny",
        "prediction": text,
        "finish_reason": "stop",
        "usage": {"prompt_tokens": 900},
    }


def released_rows(records: list[dict], copied: float = 0.5, **options: Any) -> list[dict[str, Any]]:
    """Predictions for every record, of which a share repeats the human answer."""
    texts = [row["prediction"] for row in predict(records, copied)]
    return [
        released_row(index, record, text, **options)
        for index, (record, text) in enumerate(zip(records, texts, strict=True))
    ]


class Repository:
    """A local copy of a released dataset repository below `{root}/owner/released`."""

    def __init__(self, root: Path, rows: int = 90) -> None:
        self.root = root
        self.folder = root / HUB
        self.records = make_records(rows)
        self.write(RECORDS, self.records)

    def write(self, file: str, rows: list[dict]) -> str:
        path = self.folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        write_jsonl(path, rows)
        return file

    def run(self, name: str, rows: list[dict]) -> str:
        """The file of a run's predictions."""
        return self.write(f"english/runs/{name}/predictions.jsonl", rows)
