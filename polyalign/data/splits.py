"""Merge deduplicated corpora into the train, val and test splits of one language. docs/method.md, Views."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from polyalign.errors import BadInput
from polyalign.files import StrPath, TableWriter
from polyalign.records import BATCH_ROWS, RECORD_SCHEMA, read_record_batches, read_records, records_to_table
from polyalign.throughput import one_ahead

CORPUS_SPLIT = {"train": "train", "val": "dev", "test": "test", "validation2": "validation2"}
"""Merged split -> split of the corpora it is made of. validation2 is merged only when asked for."""


def merge_splits(
    inputs: Mapping[str, Mapping[str, StrPath]],
    outputs: Mapping[str, StrPath],
    language: str,
    *,
    skip_other_languages: bool = False,
) -> dict[str, Any]:
    """Write the merged splits as Parquet: corpora in the order given, each in file order.

    Args:
        inputs: {dataset: {split: file}} with the corpora's split names (`dev`); a corpus may lack a split.
        outputs: {merged split: Parquet file}, keys of `CORPUS_SPLIT`.
        language: the language of every record.
        skip_other_languages: leave out and count records in another language instead of refusing them.

    Returns:
        records {split: n}, datasets {split: {dataset: n}} and, when skipping, skipped_other_language.

    Raises:
        BadInput: a file is missing or holds a row that is no record of this language.
    """
    datasets: dict[str, dict[str, int]] = {split: {} for split in outputs}
    skipped = 0
    with ExitStack() as stack:
        for split, target in outputs.items():
            writer = stack.enter_context(TableWriter(target, RECORD_SCHEMA))
            for dataset in inputs:
                source = inputs[dataset].get(CORPUS_SPLIT[split])
                if source is None:
                    continue
                before = writer.rows
                for batch in one_ahead(_batches(source)):
                    ours = _of_language(batch, language, source, skip_other_languages)
                    skipped += batch.num_rows - ours.num_rows
                    writer.write(ours)
                if writer.rows > before or not skip_other_languages:
                    datasets[split][dataset] = writer.rows - before
    counts = {split: sum(by_dataset.values()) for split, by_dataset in datasets.items()}
    details: dict[str, Any] = {"records": counts, "datasets": datasets}
    if skip_other_languages:
        details["skipped_other_language"] = skipped
    return details


def _batches(source: StrPath) -> Iterator[pa.RecordBatch | pa.Table]:
    """Record batches of a Parquet or JSONL file."""
    if str(source).endswith(".parquet"):
        row = 0
        for batch in read_record_batches(source, RECORD_SCHEMA.names):
            _refuse_nulls(batch, source, row)
            row += batch.num_rows
            yield batch
        return
    records = read_records(source)
    while rows := list(islice(records, BATCH_ROWS)):
        yield records_to_table(rows)


def _refuse_nulls(batch: pa.RecordBatch, source: StrPath, before: int) -> None:
    """Raise `BadInput` naming the first null of a table; JSONL is checked as it is read."""
    for name in batch.schema.names:
        if batch.column(name).null_count:
            first = batch.column(name).is_null().index(pa.scalar(True)).as_py()
            raise BadInput(
                "missing or null",
                file=source,
                row=before + first + 1,
                field=name,
                expected="a value in every row",
                fix="build the records again with `python -m polyalign format`",
            )


def _of_language(batch: Any, language: str, source: StrPath, skip: bool) -> Any:
    """The batch's rows in `language`; rows in another one are left out or refused."""
    ours = pc.equal(batch.column("language"), language)
    if pc.all(ours).as_py() is not False:
        return batch
    if skip:
        return batch.filter(ours)
    first = ours.index(pa.scalar(False)).as_py()
    raise BadInput(
        f"record in language {batch.column('language')[first].as_py()!r}",
        file=source,
        id=batch.column("id")[first].as_py(),
        field="language",
        expected=repr(language),
        fix="list the corpus under its own language in the configuration",
    )
