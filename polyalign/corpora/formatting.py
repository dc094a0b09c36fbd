"""Format a corpus: raw files in their official layout -> normalized records, one file a split."""

from array import array
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from polyalign.corpora.catalogue import Corpus, get_corpus
from polyalign.corpora.source import Place, Source
from polyalign.errors import BadInput
from polyalign.files import StrPath
from polyalign.records import SPLITS, RecordWriter, normalize_text, normalized_record
from polyalign.throughput import collector_paused

SUFFIXES = (".parquet", ".jsonl", ".jsonl.gz")


def format_corpus(
    dataset: str,
    source_dir: StrPath,
    out_dir: StrPath,
    *,
    seed: int = 42,
    token_rule: str = "neutral",
    published_quirks: bool = False,
    suffix: str = ".parquet",
) -> dict[str, Any]:
    """Write `{split}{suffix}` for a corpus and return what was counted. docs/method.md, Corpora.

    Args:
        dataset: name of the corpus, a key of `polyalign.corpora.catalogue.CORPORA`.
        source_dir: folder with the corpus' raw files in their official layout.
        out_dir: where the split files go. Parquet: all four splits, those the corpus lacks empty; JSONL: only
            the splits that the corpus has.
        seed: seed of the splits made here.
        token_rule: how answer tokens are counted for the length bin, see `polyalign.records.count_tokens`.
        published_quirks: reproduce what the published formatter did wrong (docs/data.md).

    Returns:
        dataset, source, language, seed, split_policy, split_counts {split: records}, dropped {cause: rows},
        empty_answers (records whose answer is an empty string).

    Raises:
        BadInput: a raw file is missing, a row is malformed, two records have the same id, or there is no record at
            all; nothing is written then.
    """
    corpus = get_corpus(dataset)
    if suffix not in SUFFIXES:
        raise BadInput(f"unknown suffix {suffix!r}", expected=f"one of {', '.join(SUFFIXES)}")
    if not Path(source_dir).is_dir():
        raise BadInput(
            f"no folder with the raw files of {dataset}",
            file=source_dir,
            fix="mirror or fetch the corpus first",
        )
    source = Source(Path(source_dir), dataset, seed=seed, quirks=published_quirks)
    counts: Counter[str] = Counter()
    # Eight bytes a record, so that memory hardly grows with the corpus.
    ids = array("q")
    with ExitStack() as stack:
        stack.enter_context(collector_paused())
        written = SPLITS if suffix == ".parquet" else corpus.splits
        writers = {
            split: stack.enter_context(RecordWriter(Path(out_dir) / f"{split}{suffix}")) for split in written
        }
        for record in format_records(dataset, corpus, source, token_rule):
            writers[record["split"]].write(record)
            counts["empty_answers"] += not record["human_answer"]
            ids.append(hash(record["id"]))
        _refuse_repeated_ids(ids, corpus, source)
        if not ids:
            raise BadInput(
                f"no record of {dataset} in any file",
                file=source_dir,
                expected="at least one usable row",
                fix="fetch or mirror the corpus again",
            )
    return {
        "dataset": dataset,
        "source": corpus.hub,
        **({"config": corpus.config} if corpus.config else {}),
        "language": corpus.language,
        "seed": seed,
        "split_counts": {split: writers[split].rows for split in corpus.splits},
        "split_policy": corpus.policy,
        "dropped": dict(sorted(source.dropped.items())),
        "empty_answers": counts["empty_answers"],
    }


def _refuse_repeated_ids(hashes: array, corpus: Corpus, source: Source) -> None:
    """Raise `BadInput` when two records have the same id.

    Args:
        hashes: of the ids of all records. Where two are equal the corpus is read again to name the rows.
    """
    ordered = np.sort(np.frombuffer(hashes, dtype=np.int64))
    repeated = set(ordered[1:][ordered[1:] == ordered[:-1]].tolist())
    if not repeated:
        return
    again = replace(source, dropped=Counter(), at=None)
    first: dict[str, Place | None] = {}
    for draft in corpus.reader(again):
        if hash(draft.id) not in repeated:
            continue
        if draft.id in first:
            earlier, here = first[draft.id], again.at
            raise BadInput(
                f"this id stands here a second time, after {_named(earlier)}",
                file=here.file if here else source.folder,
                row=here.row if here else None,
                id=draft.id,
                field="id",
                expected="an id of its own for every record",
                fix="remove the repeated row, or fetch or mirror the corpus again",
            )
        first[draft.id] = again.at


def _named(place: Place | None) -> str:
    return f"row {place.row} of {place.file}" if place else "another record"


def format_records(
    dataset: str, corpus: Corpus, source: Source, token_rule: str = "neutral"
) -> Iterator[dict[str, Any]]:
    """Stream the records of a corpus, splits mixed, in source order within each split."""
    raw_context, context = "", ""
    for draft in corpus.reader(source):
        # Questions about one text follow each other, so its text is normalized once.
        if draft.context is not raw_context and draft.context != raw_context:
            raw_context, context = draft.context, normalize_text(draft.context)
        yield normalized_record(
            id=draft.id,
            dataset=dataset,
            split=draft.split,
            language=corpus.language,
            track=corpus.track,
            family=corpus.family,
            style_bucket=corpus.style_bucket,
            question=normalize_text(draft.question),
            context=context,
            dialogue_history=draft.history,
            human_answer=normalize_text(draft.human_answer),
            meta=draft.meta,
            token_rule=token_rule,
        )
