"""Answer every row of a split exactly once, resumably, and say what came out.

    generate_predictions("test.parquet", "model/", "test.jsonl", mode="plain", decoding={},
                         engine_settings={}, split="test", cell="en_sft_tiny")

Answers are appended to `work/{cell}/inference_{split}_{fingerprint}.jsonl` as they come; a job that is
killed goes on from there. The fingerprint covers rows, model, prompts, decoding, engine and code, so that no
other run's answers are taken up.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from polyalign.errors import BadInput, PolyAlignError
from polyalign.files import StrPath, sha256_file, sha256_json, write_jsonl
from polyalign.inference.asking import answer_resumably, ask, model_digest, tokenizer_of
from polyalign.inference.cot import extract_final_answer
from polyalign.inference.decoding import Decoding
from polyalign.inference.engine import Completion, Engine, EngineSettings, Request, request_seed
from polyalign.inference.engines import open_engine
from polyalign.inference.outcome import Source, in_order, outcome, row_coverage, warn
from polyalign.inference.paper_cleanup import clean_published
from polyalign.inference.part_file import PartFile
from polyalign.manifest import read_manifest
from polyalign.prompts import (
    MODE_OF_METHOD,
    MODES,
    render_prompt,
    safe_messages,
    stop_strings,
    template_digest,
    text_ids,
)
from polyalign.records import read_records
from polyalign.settings import S, read_settings


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
    shard: tuple[int, int] = (1, 1),
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
        shard: (k, n): answer only the rows at positions k, k + n, k + 2 n ... of the file, 1 <= k <= n.
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
    if not 1 <= shard[0] <= shard[1]:
        raise BadInput(f"there is no shard {shard[0]} of {shard[1]}", expected="1 to the number of shards")
    decoding = _typed(Decoding, decoding, "decoding")
    settings = _typed(EngineSettings, engine_settings, "inference")
    model_dir, out_path = Path(model_dir), Path(out_path)
    tokenizer = tokenizer_of(model_dir)
    sources = read_sources(records_path, shard)
    reasons: dict[int, str] = {}
    with open_engine(model_dir, tokenizer, mode, decoding, settings) as engine:
        part = _part_file(
            Path(work_dir) / cell,
            split,
            shard,
            {
                "records": sha256_file(records_path),
                "model": model_digest(model_dir),
                "mode": mode,
                "decoding": decoding.model_dump(),
                "engine": settings.identity(),
                "versions": engine.describe()["versions"],
                "code": code,
            },
        )

        def rows_of(done: frozenset[int]) -> Iterator[dict[str, Any]]:
            waiting = _waiting_records(records_path, shard, done)
            return _answer(waiting, engine, tokenizer, mode, decoding, settings.window_rows, reasons)

        answered = answer_resumably(part, len(sources), f"answers {cell} {split}", rows_of)
        description, max_length = engine.describe(), engine.max_length
    rows = in_order(sources, answered, out_path, reasons)
    if all(row["finish_reason"] == "error" for row in rows):
        raise PolyAlignError(f"{cell} {split}: not one prompt fits into the model's {max_length} tokens")
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
        "engine": description,
        "coverage": row_coverage(sources),
        **outcome(rows, sources, mode),
    }
    return {**details, "warnings": warn(details)}


def answer_cell(job: Any, shard: tuple[int, int] = (1, 1)) -> dict[str, Any]:
    """`generate_predictions` for the cell of a workflow job, as `polyalign.job.run_job` gives it."""
    cell = job.wildcards
    details = generate_predictions(
        job.input.rows,
        Path(job.input.model).parent,
        job.output.predictions,
        mode=MODE_OF_METHOD[cell.method],
        decoding=job.params.decoding,
        engine_settings=job.params.engine,
        split=cell.split,
        cell=f"{cell.lang}_{cell.method}_{cell.model}",
        shard=shard,
        code=job.params.code,
    )
    return {**details, "source": read_manifest(job.input.model)["details"].get("source", {"kind": "train"})}


def _part_file(folder: Path, split: str, shard: tuple[int, int], made_from: Mapping[str, Any]) -> PartFile:
    """The file of this run's answers; another run, of other things, has another."""
    place = split if shard == (1, 1) else f"{split}_{shard[0]}-of-{shard[1]}"
    return PartFile(folder / f"inference_{place}_{sha256_json(made_from)[:16]}.jsonl")


def _typed(model: type[S], value: S | Mapping[str, Any], name: str) -> S:
    if isinstance(value, model):
        return value
    return read_settings(model, value, file=name, docs="docs/inference.md")


def _numbered(records_path: StrPath, shard: tuple[int, int]) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """(position, source_index, record) of each row of the shard.

    The index is that of the column `source_index` where the file has one, else the position.
    """
    number, count = shard
    for position, record in enumerate(read_records(records_path)):
        if position % count == number - 1:
            yield position, record.get("source_index", position), record


def read_sources(records_path: StrPath, shard: tuple[int, int] = (1, 1)) -> dict[int, Source]:
    """{source_index: source} of every row of the shard, in file order; `BadInput` for an index that comes twice."""
    sources: dict[int, Source] = {}
    for position, index, record in _numbered(records_path, shard):
        if index in sources:
            raise BadInput(
                f"source_index {index} stands twice",
                file=Path(records_path),
                row=position + 1,
                id=record["id"],
                field="source_index",
                expected="each row of the split at most once",
            )
        sources[index] = Source(record["id"], record["bucket_id"])
    if not sources:
        raise BadInput("no rows to answer", file=Path(records_path))
    return sources


def _waiting_records(
    records_path: StrPath, shard: tuple[int, int], done: frozenset[int]
) -> Iterator[tuple[int, dict[str, Any]]]:
    return ((index, record) for _, index, record in _numbered(records_path, shard) if index not in done)


def _answer(
    waiting: Iterable[tuple[int, dict[str, Any]]],
    engine: Engine,
    tokenizer: Any,
    mode: str,
    decoding: Decoding,
    window_rows: int,
    reasons: dict[int, str],
) -> Iterator[dict[str, Any]]:
    """Yield an output row for each waiting record that is answered; `reasons` takes up why others are not.

    Memory is bounded by `window_rows` prompts.
    """
    ids: dict[int, str] = {}

    def request_of(item: tuple[int, dict[str, Any]]) -> Request | Completion:
        index, record = item
        ids[index] = record["id"]
        text = render_prompt(tokenizer, record, mode)
        prompt = text_ids(tokenizer, text)
        room = engine.max_length - len(prompt)
        if room <= 0:
            return Completion(index, "", "error", len(prompt), 0)
        limit = min(decoding.answer_limit(record["length_bin"], mode), room)
        request = Request(index, prompt, limit, request_seed(decoding.seed, index), stop_strings(mode))
        if not engine.reads_text:
            return request
        return replace(request, text=text, messages=safe_messages(tokenizer, record, mode))

    for done in ask(waiting, request_of, engine, window_rows, reasons):
        yield _row(done, ids.pop(done.source_index), mode, decoding)


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
