"""Ask a judge about the answers of cells: every row once, some of them again, resumably, one JSON line a row.

    judge_files("test.parquet", {"en_sft_tiny": Files("test.jsonl", "out.jsonl", "probes.jsonl")}, "judge/",
                judge="qwen3-8b", settings={}, engine_settings={}, seed=42)

Replies are appended to `work/{cell}/judge_{judge}_{fingerprint}.jsonl` as they come; a job that is killed goes on
from there.
"""

import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from polyalign.errors import BadInput, PolyAlignError
from polyalign.files import StrPath, sha256_file, sha256_json, write_jsonl
from polyalign.inference.asking import answer_resumably, ask, model_digest, tokenizer_of
from polyalign.inference.engine import Completion, Engine, EngineSettings, Request, request_seed
from polyalign.inference.engines import open_engine
from polyalign.inference.outcome import Source, in_order, row_coverage
from polyalign.inference.part_file import PartFile
from polyalign.judge.replies import NO_ANSWER, NOT_ASKED, REASONS, counts, judged_row
from polyalign.judge.rows import JudgedRow, draw_rows, join_rows, of_shard, probed
from polyalign.judge.rubric import Rubric, load_rubric
from polyalign.judge.settings import ASKED, WAYS, Judges
from polyalign.prompts import (
    judge_messages,
    render_messages,
    template_digest,
    text_ids,
    without_control_tokens_in,
)
from polyalign.settings import read_settings

log = logging.getLogger(__name__)

MODE = "plain"
"""Prompt mode whose end of turn ends a reply: a judge is asked in a chat."""


@dataclass(frozen=True)
class Files:
    """Predictions of a cell, and where its judgements and those of its probes go; without a place, none are asked."""

    predictions: StrPath
    out: StrPath
    probes: StrPath | None = None


@dataclass(frozen=True)
class Judge:
    """A judge that is ready to be asked."""

    name: str
    engine: Engine
    tokenizer: Any
    rubric: Rubric
    settings: Judges
    seed: int

    def request(self, row: JudgedRow, way: str) -> Request | Completion:
        """What is asked about a row; the completion of one that does not fit."""
        backwards = way == "backwards"
        answer = f'"{row.answer.strip()}"' if way == "quoted" else row.answer
        messages = without_control_tokens_in(
            self.tokenizer,
            judge_messages(
                self.rubric.text(backwards=backwards), row.record, answer, answer_first=way == "answer_first"
            ),
        )
        text = render_messages(self.tokenizer, messages)
        ids = text_ids(self.tokenizer, text)
        number = number_of(row.source_index, way)
        if len(ids) + self.settings.max_new_tokens > self.engine.max_length:
            return Completion(number, "", "error", len(ids), 0)
        request = Request(
            number,
            ids,
            self.settings.max_new_tokens,
            request_seed(self.seed, number),
            schema=self.rubric.schema(backwards=backwards),
        )
        return replace(request, text=text, messages=messages) if self.engine.reads_text else request


def number_of(source_index: int, way: str) -> int:
    """Number of a request."""
    return source_index * len(WAYS) + WAYS.index(way)


def judge_files(
    records: StrPath,
    cells: Mapping[str, Files],
    model_dir: StrPath,
    *,
    judge: str,
    settings: Judges | Mapping[str, Any],
    engine_settings: EngineSettings | Mapping[str, Any],
    seed: int,
    shard: tuple[int, int] = (1, 1),
    work_dir: StrPath = "work",
    code: str | None = None,
) -> dict[str, dict[str, Any]]:
    """Judge the answers of some cells to a split with one judge, loaded once.

    Args:
        records: the split, Parquet or JSONL.
        model_dir: folder of the judge: model, tokenizer and chat template.
        settings: which rows, how often, and how replies are decoded.
        seed: of the draw of rows and of sampling.
        shard: (k, n): judge only the drawn rows at positions k, k + n, ...
        work_dir: where the resumable state is kept until a cell is whole.
        code: code digest of the caller; part of the fingerprint.

    Returns:
        {cell: details for the manifest}.

    Raises:
        BadInputs: a prediction that is not its record's.
        BadInput: no model, or one without a chat template.
        PolyAlignError: requests without a reply, which are named, or not one row that could be scored.
    """
    typed = _typed(Judges, settings, "judges")
    engine_typed = _typed(EngineSettings, engine_settings, "inference")
    if typed.max_length is not None:
        longest = min(typed.max_length, engine_typed.max_length or typed.max_length)
        engine_typed = engine_typed.model_copy(update={"max_length": longest})
    folder = Path(model_dir)
    tokenizer = tokenizer_of(folder)
    rubric = load_rubric()
    # Every file is joined and checked before the first question.
    joined = {cell: join_rows(records, files.predictions) for cell, files in cells.items()}
    made_from = {
        "records": sha256_file(records),
        "model": model_digest(folder),
        "rubric": rubric.digest(),
        "settings": typed.asking(),
        "seed": seed,
        "engine": engine_typed.identity(),
        "code": code,
    }
    decoding = typed.decoding(seed)
    details = {}
    with open_engine(folder, tokenizer, MODE, decoding, engine_typed) as engine:
        for cell, files in cells.items():
            found = {
                **made_from,
                "predictions": sha256_file(files.predictions),
                "versions": engine.describe()["versions"],
            }
            place = judge if shard == (1, 1) else f"{judge}_{shard[0]}-of-{shard[1]}"
            part = PartFile(Path(work_dir) / cell / f"judge_{place}_{sha256_json(found)[:16]}.jsonl")
            # Its own seed for every judge and cell: with the same draws, noise would look like agreement.
            asking = Judge(judge, engine, tokenizer, rubric, typed, _sampling_seed(seed, judge, cell))
            rows = draw_rows(joined[cell], typed.rows, seed)
            again = frozenset() if files.probes is None else probed(rows, typed.probed_rows, seed)
            own = of_shard(rows, shard)
            tables = _judge_cell(asking, cell, own, again, part, files, engine_typed.window_rows)
            details[cell] = {
                "judge": judge,
                "cell": cell,
                "rubric": {"version": rubric.version, "sha256": rubric.digest()},
                "template_sha256": template_digest(tokenizer),
                "decoding": decoding.model_dump(include={"temperature", "seed"}),
                "engine": engine.describe(),
                "coverage": row_coverage(row.source_index for row in own),
                **counts(tables[ASKED]),
                "probes": counts(row for way in typed.probes for row in tables[way]),
            }
            details[cell]["warnings"] = _warnings(details[cell])
    return details


def _sampling_seed(seed: int, judge: str, cell: str) -> int:
    return int(sha256_json([seed, judge, cell])[:8], 16)


def _typed(model: type, values: Any, name: str) -> Any:
    if isinstance(values, model):
        return values
    return read_settings(model, values, file=name, docs="docs/judge.md")


def _judge_cell(
    judge: Judge,
    cell: str,
    rows: Sequence[JudgedRow],
    again: frozenset[int],
    part: PartFile,
    files: Files,
    window_rows: int,
) -> dict[str, list[dict[str, Any]]]:
    """{way: output rows} of a cell, written to its files."""
    there = [row for row in rows if row.answer is not None]
    asked = {
        number_of(row.source_index, way): (row, way)
        for way in (ASKED, *judge.settings.probes)
        for row in there
        if way == ASKED or row.source_index in again
    }
    reasons: dict[int, str] = {}

    def rows_of(done: frozenset[int]) -> Iterator[dict[str, Any]]:
        def replies(backwards: bool) -> Iterator[Completion]:
            waiting = (
                item
                for number, item in asked.items()
                if number not in done and (item[1] == "backwards") == backwards
            )
            return ask(waiting, lambda item: judge.request(*item), judge.engine, window_rows, reasons)

        # Apart, so that all prompts of a batch start with the same rubric.
        for reply in chain(replies(False), replies(True)):
            yield {
                "source_index": reply.source_index,
                "text": reply.text,
                "finish_reason": reply.finish_reason,
                "prompt_tokens": reply.prompt_tokens,
                "completion_tokens": reply.completion_tokens,
            }

    said = answer_resumably(part, len(asked), f"judgements {judge.name} {cell}", rows_of)
    tables: dict[str, list[dict[str, Any]]] = {}
    for way in (ASKED, *judge.settings.probes):
        own = {number: row for number, (row, of) in asked.items() if of == way}
        sources = {row.source_index: Source(row.id, row.bucket_id) for row in own.values()}
        in_order(
            sources,
            {row.source_index: said[number] for number, row in own.items() if number in said},
            files.out,
            {row.source_index: reasons[number] for number, row in own.items() if number in reasons},
        )
        shown = rows if way == ASKED else list(own.values())
        tables[way] = [
            judged_row(row, said.get(number_of(row.source_index, way)), judge.rubric, way) for row in shown
        ]
    _some_scored(judge, cell, tables[ASKED])
    if files.probes is not None:
        write_jsonl(files.probes, [row for way in judge.settings.probes for row in tables[way]])
    write_jsonl(files.out, tables[ASKED])
    part.path.unlink(missing_ok=True)
    return tables


def _some_scored(judge: Judge, cell: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Raise `PolyAlignError` where rows were to be scored and not one was."""
    asked = [row for row in rows if row["error"] != NO_ANSWER]
    if asked and all(row["error"] for row in asked):
        reason = asked[0]["error"]
        fix = (
            f"the prompts need more than {judge.engine.max_length} tokens: raise judges.max_length or change the judge"
            if reason in NOT_ASKED
            else "the judge's engine does not hold replies to a JSON schema, or max_new_tokens leaves no room for one"
        )
        raise PolyAlignError(
            f"{judge.name} on {cell}: not one of {len(asked):,} rows was scored, the first because {REASONS[reason]}; "
            f"fix: {fix}"
        )


def _warnings(details: Mapping[str, Any]) -> list[str]:
    """Lines for the log and the terminal: rows that count for nothing, by reason."""
    lines = [
        f"{details['judge']} on {details['cell']}: {count:,} of {details['rows']:,} rows not scored: {REASONS[reason]}"
        for reason, count in details["errors"].items()
    ]
    for line in lines:
        log.warning(line)
    return lines


def judge_cell(job: Any, shard: tuple[int, int] = (1, 1)) -> dict[str, Any]:
    """`judge_files` for the judge and cell of a workflow job, as `polyalign.job.run_job` gives it."""
    cell = "{lang}_{method}_{model}".format(**dict(job.wildcards.items()))
    ((judge, (folder, engine)),) = job.params.folders.items()
    return judge_files(
        job.input.records,
        {cell: Files(job.input.predictions, job.output.judgements, job.output.probes)},
        folder,
        judge=judge,
        settings=job.params.settings,
        engine_settings=engine,
        seed=job.params.seed,
        shard=shard,
        code=job.params.code,
    )[cell]


def judge_file(
    model: StrPath,
    records: StrPath,
    predictions: StrPath,
    out: StrPath,
    *,
    probes: StrPath | None = None,
    engine: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    seed: int = 42,
) -> dict[str, Any]:
    """Judge predictions from anywhere, for the command line; returns the details of a manifest.

    Args:
        probes: where judgements of rows that are asked again go; without it none are.
    """
    place = Path(out)
    if place.suffix != ".jsonl":
        raise BadInput("judgements are JSON lines", file=place, expected="a file name that ends in .jsonl")
    cell = place.stem
    # Beside the output, where a run that was stopped finds it again.
    work = place.with_suffix(".partial")
    found = judge_files(
        records,
        {cell: Files(predictions, out, probes)},
        model,
        judge=Path(model).name,
        settings=settings or {},
        engine_settings=engine or {},
        seed=seed,
        work_dir=work,
    )
    shutil.rmtree(work)
    return found[cell]
