"""Answer every row of a split exactly once, resumably, and say what came out.

    generate_predictions("test.parquet", "model/", "test.jsonl", mode="plain", decoding={},
                         engine_settings={}, split="test", cell="en_sft_tiny")

Answers are appended to `work/{cell}/inference_{split}_{fingerprint}.jsonl` as they come; a job that is
killed goes on from there. The fingerprint covers rows, model, prompts, decoding, engine and code, so that no
other run's answers are taken up.
"""

import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from polyalign.errors import BadInput, BadInputs, PolyAlignError
from polyalign.files import StrPath, sha256_file, sha256_json, write_jsonl
from polyalign.inference.cot import extract_final_answer
from polyalign.inference.decoding import Decoding
from polyalign.inference.engine import Completion, Engine, EngineSettings, Request, request_seed
from polyalign.inference.paper_cleanup import clean_published
from polyalign.inference.part_file import PartFile
from polyalign.predictions import FINISH_REASONS
from polyalign.progress import track
from polyalign.prompts import MODES, prompt_ids, stop_strings, stop_token_ids, template_digest
from polyalign.records import read_records
from polyalign.settings import S, read_settings

log = logging.getLogger(__name__)

# Files of a model folder that say how it was trained; they do not change what it answers.
_NOT_THE_MODEL = ("manifest.json", "trainer_state.json", "training_args.json")
_MODEL_SUFFIXES = (".safetensors", ".bin", ".json", ".jinja", ".model", ".txt")


@dataclass(frozen=True)
class _Source:
    """What the output needs of a record."""

    id: str
    bucket_id: str


def generate_predictions(
    records_path: StrPath,
    model_dir: StrPath,
    out_path: StrPath,
    *,
    mode: str,
    decoding: Decoding | Mapping[str, Any],
    engine_settings: EngineSettings | Mapping[str, Any],
    split: str,
    cell: str,
    work_dir: StrPath = "work",
    code: str | None = None,
) -> dict[str, Any]:
    """Answer the rows of `records_path` with the model in `model_dir`; write predictions to `out_path`.

    Args:
        records_path: records, Parquet or JSONL; a `source_index` column names the rows, else their position
        does.
        model_dir: folder of model, tokenizer and, for the chat modes, chat template.
        out_path: JSONL of {source_index, id, prediction, finish_reason, prompt_tokens, completion_tokens},
        ordered
            by source_index. Where the prediction is not all the model said (cot, published cleanup), the row
            also has `raw_prediction`. A prompt that does not fit the model is a row with finish_reason
            `error` and an empty prediction, never a shortened prompt.
        mode: prompt mode, one of `polyalign.prompts.MODES`.
        work_dir: where the resumable state is kept until the output is whole.
        code: code digest of the caller; part of the fingerprint.

    Returns:
        Details for the manifest: prompt mode and template digest, decoding, engine, row coverage, counts by
        bucket.

    Raises:
        BadInput: wrong settings, a repeated source_index, no model, or a model without what the mode needs.
        PolyAlignError: rows without an answer (they are named), or not one prompt that fits the model.
    """
    if mode not in MODES:
        raise BadInput(f"unknown prompt mode {mode!r}", expected=f"one of {', '.join(MODES)}")
    decoding = _typed(Decoding, decoding, "decoding")
    settings = _typed(EngineSettings, engine_settings, "inference")
    model_dir, out_path = Path(model_dir), Path(out_path)
    tokenizer = _load_tokenizer(model_dir)
    sources = _read_sources(records_path)
    fingerprint = sha256_json(
        {
            "records": sha256_file(records_path),
            "model": model_digest(model_dir),
            "mode": mode,
            "decoding": decoding.model_dump(),
            "engine": settings.model_dump(),
            "code": code,
        }
    )[:16]
    engine = _load_engine(model_dir, tokenizer, mode, decoding, settings)
    part = PartFile(Path(work_dir) / cell / f"inference_{split}_{fingerprint}.jsonl")
    answered = part.load()
    if answered:
        log.info("%s: going on after %d of %d rows", part.path, len(answered), len(sources))
    waiting = _waiting_records(records_path, answered)
    with part:
        rows = _answer(waiting, engine, tokenizer, mode, decoding, settings.window_rows)
        for row in track(rows, total=len(sources) - len(answered), label=f"answers {cell} {split}"):
            part.append(row)
            answered[row["source_index"]] = row
    rows = _in_order(sources, answered, out_path)
    if all(row["finish_reason"] == "error" for row in rows):
        raise PolyAlignError(
            f"{cell} {split}: not one prompt fits into the model's {engine.max_length} tokens"
        )
    write_jsonl(out_path, rows)
    part.path.unlink()
    details = {
        "cell": cell,
        "split": split,
        "prompt_mode": mode,
        "oracle": mode == "oracle",
        "template_sha256": template_digest(tokenizer),
        "decoding": decoding.model_dump(),
        "decoding_sha256": decoding.digest(),
        "engine": engine.describe(),
        "coverage": row_coverage(sources),
        **_outcome(rows, sources, mode),
    }
    _warn(details)
    return details


def _typed(model: type[S], value: S | Mapping[str, Any], name: str) -> S:
    if isinstance(value, model):
        return value
    return read_settings(model, value, file=name, docs="docs/inference.md")


def _load_tokenizer(model_dir: Path) -> Any:
    from transformers import AutoTokenizer

    if not (model_dir / "tokenizer_config.json").is_file():
        raise BadInput("no tokenizer here", file=model_dir, expected="model and tokenizer in one folder")
    return AutoTokenizer.from_pretrained(model_dir, local_files_only=True)


def _load_engine(
    model_dir: Path, tokenizer: Any, mode: str, decoding: Decoding, settings: EngineSettings
) -> Engine:
    # Imported here: torch takes seconds, and wrong settings should be told before.
    from polyalign.inference.transformers_engine import TransformersEngine

    return TransformersEngine(model_dir, tokenizer, decoding, settings, stop_token_ids(tokenizer, mode))


def model_digest(model_dir: Path) -> str:
    """SHA-256 over the files of a model folder that decide its answers: weights, configuration, tokenizer."""
    files = sorted(
        file
        for file in model_dir.iterdir()
        if file.suffix in _MODEL_SUFFIXES and file.name not in _NOT_THE_MODEL
    )
    return sha256_json({file.name: sha256_file(file) for file in files})


def _numbered(records_path: StrPath) -> Iterator[tuple[int, dict[str, Any]]]:
    """(source_index, record) of each row, by column where the file has one, else by position."""
    for position, record in enumerate(read_records(records_path)):
        yield record.get("source_index", position), record


def _read_sources(records_path: StrPath) -> dict[int, _Source]:
    """{source_index: source} of every row, in file order."""
    sources: dict[int, _Source] = {}
    for position, (index, record) in enumerate(_numbered(records_path)):
        if index in sources:
            raise BadInput(
                f"source_index {index} stands twice",
                file=Path(records_path),
                row=position + 1,
                id=record["id"],
                field="source_index",
                expected="each row of the split at most once",
            )
        sources[index] = _Source(record["id"], record["bucket_id"])
    if not sources:
        raise BadInput("no rows to answer", file=Path(records_path))
    return sources


def _waiting_records(
    records_path: StrPath, answered: Mapping[int, Any]
) -> Iterator[tuple[int, dict[str, Any]]]:
    # A snapshot: rows are added to `answered` while this is being read.
    done = frozenset(answered)
    return ((index, record) for index, record in _numbered(records_path) if index not in done)


def _windows(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(items)
    while window := list(islice(iterator, size)):
        yield window


def _answer(
    waiting: Iterable[tuple[int, dict[str, Any]]],
    engine: Engine,
    tokenizer: Any,
    mode: str,
    decoding: Decoding,
    window_rows: int,
) -> Iterator[dict[str, Any]]:
    """Yield an output row for each waiting record; memory is bounded by `window_rows` prompts."""
    for window in _windows(waiting, window_rows):
        requests: list[Request] = []
        ids: dict[int, str] = {}
        for index, record in window:
            ids[index] = record["id"]
            prompt = prompt_ids(tokenizer, record, mode)
            room = engine.max_length - len(prompt)
            if room <= 0:
                yield _row(Completion(index, "", "error", len(prompt), 0), record["id"], mode, decoding)
                continue
            limit = min(decoding.answer_limit(record["length_bin"], mode), room)
            requests.append(
                Request(index, prompt, limit, request_seed(decoding.seed, index), stop_strings(mode))
            )
        for completion in engine.generate(requests):
            yield _row(completion, ids[completion.source_index], mode, decoding)


def _row(completion: Completion, id: str, mode: str, decoding: Decoding) -> dict[str, Any]:
    """The output row of a completion."""
    prediction = completion.text
    if mode == "cot":
        # Without the label the whole output is what the model answered; the details count such rows.
        answer = extract_final_answer(prediction)
        prediction = prediction if answer is None else answer
    if decoding.cleanup == "published":
        prediction = clean_published(prediction)
    row = {
        "source_index": completion.source_index,
        "id": id,
        "prediction": prediction,
        "finish_reason": completion.finish_reason,
        "prompt_tokens": completion.prompt_tokens,
        "completion_tokens": completion.completion_tokens,
    }
    return row if prediction == completion.text else {**row, "raw_prediction": completion.text}


def _in_order(
    sources: Mapping[int, _Source], answered: Mapping[int, dict[str, Any]], out_path: Path
) -> list[dict[str, Any]]:
    """The rows of the output; an error names the rows that have no answer, or an answer without a row."""
    missing = [index for index in sources if index not in answered]
    strange = [index for index in answered if index not in sources]
    if missing or strange:
        raise BadInputs(
            [
                *(BadInput("no answer", file=out_path, row=index, id=sources[index].id) for index in missing),
                *(
                    BadInput("answer to a row that was not asked", file=out_path, row=index)
                    for index in strange
                ),
            ]
        )
    return [answered[index] for index in sorted(sources)]


def row_coverage(indices: Iterable[int]) -> dict[str, Any]:
    """{rows, source_index_sha256}: two files cover the same rows when these are equal."""
    ordered = sorted(indices)
    text = json.dumps(ordered, separators=(",", ":"))
    return {"rows": len(ordered), "source_index_sha256": sha256_json(text)}


def _outcome(rows: Iterable[Mapping[str, Any]], sources: Mapping[int, _Source], mode: str) -> dict[str, Any]:
    """Counts in all and by bucket: rows, empty answers, finish reasons, tokens; for cot, missing labels."""
    counters = ("rows", "empty", *FINISH_REASONS, "prompt_tokens", "completion_tokens")
    if mode == "cot":
        counters += ("without_final_answer",)
    total = dict.fromkeys(counters, 0)
    buckets: dict[str, dict[str, int]] = {}
    for row in rows:
        counted = {
            "rows": 1,
            "empty": int(not row["prediction"] and row["finish_reason"] != "error"),
            row["finish_reason"]: 1,
            "prompt_tokens": row["prompt_tokens"],
            "completion_tokens": row["completion_tokens"],
        }
        if mode == "cot" and row["finish_reason"] != "error":
            text = row.get("raw_prediction", row["prediction"])
            counted["without_final_answer"] = int(extract_final_answer(text) is None)
        bucket = buckets.setdefault(sources[row["source_index"]].bucket_id, dict.fromkeys(counters, 0))
        for name, value in counted.items():
            total[name] += value
            bucket[name] += value
    return {"counts": total, "buckets": dict(sorted(buckets.items()))}


def _warn(details: Mapping[str, Any]) -> None:
    """Say loudly, by bucket, what would otherwise only show as a strange number in a table."""
    told = {
        "empty": "empty answers",
        "length": "answers cut at the token limit",
        "error": "prompts longer than the model takes",
        "without_final_answer": "outputs without a final-answer label",
    }
    for name, words in told.items():
        if details["counts"].get(name):
            where = ", ".join(
                f"{bucket} {counts[name]} of {counts['rows']}"
                for bucket, counts in details["buckets"].items()
                if counts[name]
            )
            total, run = details["counts"], f"{details['cell']} {details['split']}"
            log.warning("%s: %d of %d %s (%s)", run, total[name], total["rows"], words, where)
