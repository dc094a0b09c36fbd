"""Inputs of a human evaluation for tests: records with hostile answers, published outputs, simulated annotators."""

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from polyalign.files import read_json, read_jsonl, write_json, write_jsonl
from polyalign.human_eval.settings import EXPORT_KIND, VERSION
from polyalign.records import RECORD_FIELDS, make_record

HOSTILE = (
    '</script><script>window.hacked = 1</script><img src="https://example.org/x.png" onerror="window.hacked = 1">',
    "<!-- <b>bold</b> --> {{data}} &lt;i&gt; \u2028 \\u003c 'quotes\" `${1}`",
)
LENGTHS = {"short": 5, "medium": 80, "long": 180, "xlong": 320}
DATASETS = ("dolly", "squad_v2")


def write_world(
    folder: Path, systems: Sequence[str] = ("one", "two", "three"), rows: int = 4
) -> tuple[Path, dict[str, Path]]:
    """Records (`rows` of each length bin and dataset) and predictions of the systems, as files."""
    records = [
        make_record(
            id=f"{dataset}-{length_bin}-{number}",
            dataset=dataset,
            split="test",
            language="en",
            track="multi",
            family="assistant",
            style_bucket="assistant_like",
            question=f"What about {number}?",
            context="An oak is a tree. " * 3,
            dialogue_history=[("user", "Hello <b>there</b>."), ("assistant", "Hello.")],
            human_answer=" ".join(["oak"] * tokens),
            meta={},
        )
        for dataset in DATASETS
        for length_bin, tokens in LENGTHS.items()
        for number in range(rows)
    ]
    write_jsonl(folder / "records.jsonl", records)
    predictions = {}
    for place, system in enumerate(systems):
        predictions[system] = folder / f"{system}.jsonl"
        texts = [
            HOSTILE[index % 2] if place == 0 else f"Reply {place} to {index}."
            for index in range(len(records))
        ]
        answers = [
            {"source_index": index, "id": record["id"], "prediction": text, "finish_reason": "stop"}
            for index, (record, text) in enumerate(zip(records, texts, strict=True))
        ]
        write_jsonl(predictions[system], answers)
    return folder / "records.jsonl", predictions


def write_published(shared: Path, folder: Path) -> tuple[Path, dict[str, Path]]:
    """The published Chinese outputs as records and one prediction file a system."""
    rows = [row for _, row in read_jsonl(shared / "data/zh_outputs/outputs.jsonl")]
    records: dict[str, dict] = {}
    answers: dict[str, dict[str, str]] = defaultdict(dict)
    for row in rows:
        filled = {"dialogue_history": [], "meta": {}, **row}
        records.setdefault(row["id"], {name: filled[name] for name in RECORD_FIELDS})
        answers[f"{row['main_model']} {row['variant']}"][row["id"]] = row["prediction"]
    write_jsonl(folder / "records.jsonl", records.values())
    predictions = {}
    for system, texts in answers.items():
        predictions[system] = folder / f"{system}.jsonl"
        found = [
            {"source_index": index, "id": name, "prediction": texts[name]}
            for index, name in enumerate(records)
        ]
        write_jsonl(predictions[system], found)
    return folder / "records.jsonl", predictions


def site_of(key: Mapping[str, Any], mode: str) -> tuple[str, dict[str, Any]]:
    """(id, part of the key) of the mode's site."""
    return next((name, site) for name, site in key["sites"].items() if site["mode"] == mode)


def write_export(
    folder: Path, key_path: Path, mode: str, annotator: str, answer: Callable[[str, Sequence[str]], dict]
) -> Path:
    """An export in which `answer(item, systems)` says what the annotator thinks."""
    site_id, site = site_of(read_json(key_path), mode)
    path = folder / f"{mode}_{annotator}.json"
    answers = {item: answer(item, owner["systems"]) for item, owner in site["items"].items()}
    write_json(
        path,
        {
            "kind": EXPORT_KIND,
            "version": VERSION,
            "site": site_id,
            "mode": mode,
            "annotator": annotator,
            "answers": answers,
        },
    )
    return path


def page_data(page: Path) -> dict[str, Any]:
    """The data that a built page holds."""
    text = page.read_text(encoding="utf-8")
    return json.loads(text.split('id="data">')[1].split("</script>")[0])


def scorer(true: Mapping[str, float], dimensions: Sequence[str], noise: float, seed: int) -> Callable:
    """An annotator who scores a system's true quality, rounded, with noise."""
    generator = np.random.default_rng(seed)

    def answer(item: str, systems: Sequence[str]) -> dict:
        drawn = true[systems[0]] + generator.normal(0, noise, len(dimensions))
        scores = np.clip(np.rint(drawn), 1, 5).astype(int).tolist()
        return {"scores": dict(zip(dimensions, scores, strict=True)), "comment": ""}

    return answer


def chooser(strength: Mapping[str, float], seed: int) -> Callable:
    """An annotator whose choices follow Bradley-Terry strengths."""
    generator = np.random.default_rng(seed)

    def answer(item: str, systems: Sequence[str]) -> dict:
        first, second = (strength[name] for name in systems)
        won = generator.random() < 1 / (1 + np.exp(second - first))
        return {"choice": "first" if won else "second"}

    return answer
