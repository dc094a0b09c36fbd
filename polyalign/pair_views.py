"""Pairs as LLaMA-Factory preference files, so that DPO and HDPO can be trained there as they are.

dpo_{split}.json is the alpaca layout with `chosen` and `rejected`; hdpo_{split}.json adds the system prompt,
the critic's scores and the weight. Definitions: docs/method.md, Views.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from polyalign.data.llamafactory import CHECKED_ITEMS, INFO_FILE, check_views
from polyalign.errors import BadInput
from polyalign.files import StrPath, atomic_path, dump_json, open_parquet, parquet_batches, write_json
from polyalign.hdpo_weights import DECIMALS
from polyalign.progress import track
from polyalign.prompts import history_pairs, profile_system_prompt
from polyalign.records import BATCH_ROWS, read_record_batches

_COLUMNS = {
    "prompt": "instruction",
    "query": "input",
    "chosen": "chosen",
    "rejected": "rejected",
}
_PROFILE_FIELDS = ("bucket_id", "style_bucket", "length_bin", "family", "track", "language")
_SCORE_FIELDS = (
    "chosen_dist_score",
    "rejected_dist_score",
    "hdpo_weight",
    "baseline_bucket_gap",
    "lang_weight",
)
VIEWS = ("dpo", "hdpo")


def dpo_item(record: Mapping[str, Any], pair: Mapping[str, Any]) -> dict[str, Any]:
    """A preference item of the alpaca layout; `history` only where there is one, as in the SFT view."""
    item = {"instruction": record["question"], "input": record["context"]}
    history = history_pairs(record["dialogue_history"], record["question"])
    if history:
        item["history"] = history
    return {
        **item,
        "chosen": pair["chosen"],
        "rejected": pair["rejected"],
        "source_index": pair["source_index"],
        "id": pair["id"],
    }


def hdpo_item(record: Mapping[str, Any], pair: Mapping[str, Any]) -> dict[str, Any]:
    """A preference item with system prompt, critic scores, weight and bucket fields (published key names)."""
    return {
        **dpo_item(record, pair),
        "system": profile_system_prompt(record),
        **{name: round(pair[name], DECIMALS) for name in _SCORE_FIELDS},
        "critic_bucket_id": pair["critic_bucket_id"],
        "pair_type": pair["pair_type"],
        **{name: pair[name] for name in _PROFILE_FIELDS},
    }


def dataset_info_entry(view: str, split: str, *, has_history: bool) -> dict[str, Any]:
    """The LLaMA-Factory entry of one preference file; it may name a column only if some item has it."""
    columns = dict(_COLUMNS)
    if has_history:
        columns["history"] = "history"
    if view == "hdpo":
        columns["system"] = "system"
    return {"file_name": f"{view}_{split}.json", "ranking": True, "columns": columns}


def paired_records(rows: StrPath, pairs: StrPath) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield (record, pair) in row order, streaming both tables.

    Args:
        rows: the rows that were answered; `pairs`: the scored pairs, a subset of them in the same order.

    Raises:
        BadInput: a pair's row is not among the rows.
    """
    columns = ["source_index", "question", "context", "dialogue_history", *_PROFILE_FIELDS]
    records = (record for batch in read_record_batches(rows, columns=columns) for record in batch.to_pylist())
    with open_parquet(pairs) as table:
        for batch in parquet_batches(table, pairs, BATCH_ROWS):
            for pair in batch.to_pylist():
                for record in records:
                    if record["source_index"] == pair["source_index"]:
                        yield record, pair
                        break
                else:
                    raise BadInput(
                        f"source_index {pair['source_index']} is not a row of {rows}",
                        file=pairs,
                        id=pair["id"],
                        fix="build the pairs again",
                    )


def export_pair_views(
    rows: Mapping[str, StrPath], pairs: Mapping[str, StrPath], folder: StrPath, prefix: str
) -> dict[str, Any]:
    """Write dpo_{split}.json, hdpo_{split}.json and dataset_info.json; returns counts.

    Args:
        rows, pairs: record rows and scored pair table of each split.
        folder: where the files go.
        prefix: start of the LLaMA-Factory entry names after the view's, such as `en_tiny`.
    """
    target = Path(folder)
    counts, entries = {}, {}
    for split, source in pairs.items():
        with (
            atomic_path(target / f"dpo_{split}.json") as dpo_file,
            atomic_path(target / f"hdpo_{split}.json") as hdpo_file,
            open(dpo_file, "w", encoding="utf-8", newline="\n") as dpo,
            open(hdpo_file, "w", encoding="utf-8", newline="\n") as hdpo,
        ):
            count, has_history = 0, False
            for record, pair in track(paired_records(rows[split], source), label=f"views {split}"):
                start = ",\n" if count else "[\n"
                item = dpo_item(record, pair)
                has_history = has_history or "history" in item
                dpo.write(start + dump_json(item))
                hdpo.write(start + dump_json(hdpo_item(record, pair)))
                count += 1
            for handle in (dpo, hdpo):
                handle.write("\n]\n" if count else "[]\n")
        counts[split] = count
        for view in VIEWS if count else ():
            entries[f"{view}_{prefix}_{split}"] = dataset_info_entry(view, split, has_history=has_history)
    write_json(target / INFO_FILE, entries)
    check_views(target, CHECKED_ITEMS)
    return {"items": counts, "entries": sorted(entries)}
