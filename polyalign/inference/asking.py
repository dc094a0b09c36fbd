"""Asking a model many things, resumably: what the runner of predictions and the judge have in common.

Items become requests a window at a time; what comes back is written through to a `PartFile`, from which a job that was
killed goes on.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from polyalign.errors import BadInput
from polyalign.files import sha256_file, sha256_json
from polyalign.inference.engine import Completion, Engine, Failure, Request
from polyalign.inference.part_file import PartFile
from polyalign.model_folders import load_tokenizer
from polyalign.progress import track

log = logging.getLogger(__name__)

# Files of a model folder that say how it was trained; they do not change what it answers.
_NOT_THE_MODEL = ("manifest.json", "trainer_state.json", "training_args.json")
_MODEL_SUFFIXES = (".safetensors", ".bin", ".json", ".jinja", ".model", ".txt")
_TOKENIZERS = ("tokenizer_config.json", "tekken.json")
"""Either says that a tokenizer is there; Mistral's newer models have the second alone."""

T = TypeVar("T")


def tokenizer_of(model_dir: Path) -> Any:
    """The tokenizer of a model folder; `BadInput` where there is none."""
    if not any((model_dir / name).is_file() for name in _TOKENIZERS):
        raise BadInput("no tokenizer here", file=model_dir, expected="model and tokenizer in one folder")
    return load_tokenizer(model_dir)


def model_digest(model_dir: Path) -> str:
    """SHA-256 over the files of a model folder that decide its answers: weights, configuration, tokenizer."""
    files = sorted(
        file
        for file in model_dir.iterdir()
        if file.suffix in _MODEL_SUFFIXES and file.name not in _NOT_THE_MODEL
    )
    return sha256_json({file.name: sha256_file(file) for file in files})


def ask(
    items: Iterable[T],
    request_of: Callable[[T], Request | Completion],
    engine: Engine,
    window_rows: int,
    reasons: dict[int, str],
) -> Iterator[Completion]:
    """Yield a completion for each item that is answered; memory is bounded by `window_rows` prompts.

    Args:
        request_of: the request of an item, or the completion of one that cannot be asked.
        reasons: takes up why others are not answered, by the request's `source_index`.
    """
    iterator = iter(items)
    while window := list(islice(iterator, window_rows)):
        requests: list[Request] = []
        for item in window:
            made = request_of(item)
            if isinstance(made, Completion):
                yield made
            else:
                requests.append(made)
        for done in engine.generate(requests):
            if isinstance(done, Failure):
                reasons[done.source_index] = done.reason
            else:
                yield done


def answer_resumably(
    part: PartFile, total: int, label: str, rows_of: Callable[[frozenset[int]], Iterable[dict[str, Any]]]
) -> dict[int, dict[str, Any]]:
    """{source_index: row} of all that is answered, in earlier runs and now.

    Args:
        part: what earlier runs left, and where new rows are appended as they come.
        total: rows in all, for the progress.
        rows_of: makes the rows that are not among those done.
    """
    answered = part.load()
    if answered:
        log.info("%s: going on after %d of %d rows", part.path, len(answered), total)
    with part:
        # A snapshot: rows are added to `answered` while this is being read.
        rows = rows_of(frozenset(answered))
        for row in track(rows, total=total - len(answered), label=label):
            part.append(row)
            answered[row["source_index"]] = row
    return answered
