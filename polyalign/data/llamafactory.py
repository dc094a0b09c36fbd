"""Check that LLaMA-Factory can read what is exported for it: dataset_info.json and the items it registers.

The rules are those that LLaMA-Factory documents for its alpaca layout (data/README.md of its repository): columns
are named by dataset_info.json, a preference set has `ranking` with `chosen` and `rejected`, `history` is a list of
pairs. It reads items as a table, so a column that is named must be in some item; versions of the reading library
differ in whether they take a key of two types, so none is allowed.
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from polyalign.errors import BadInput, BadInputs
from polyalign.files import StrPath, parse_json, read_json, read_lines

INFO_FILE = "dataset_info.json"
ENTRY_KEYS = ("file_name", "formatting", "ranking", "columns", "num_samples", "split", "subset", "folder")
COLUMNS = ("prompt", "query", "response", "history", "system", "chosen", "rejected")
CHECKED_ITEMS = 1000
"""Items of each exported file that exporters read back and check."""
_REQUIRED = ("prompt", "response")
_REQUIRED_RANKING = ("prompt", "chosen", "rejected")
_FIX = "export the views again"
_MOST_PROBLEMS = 100


def check_views(folder: StrPath, items: int | None = None) -> dict[str, int]:
    """Check every data set that dataset_info.json of a folder registers.

    Args:
        items: how many items of each file are looked at, from its start; None: all.

    Returns:
        {data set: items looked at}.

    Raises:
        BadInput: dataset_info.json is missing or not JSON.
        BadInputs: what LLaMA-Factory could not read, with file, item and key.
    """
    root = Path(folder)
    info = read_json(root / INFO_FILE)
    if not isinstance(info, dict):
        raise BadInput("not an object", file=root / INFO_FILE, expected="{data set: description}", fix=_FIX)
    problems: list[BadInput] = []
    counts = {}
    for name, entry in info.items():
        found = list(_entry_problems(root, name, entry))
        problems += found
        if not found:
            counts[name], wrong = _check_items(root / entry["file_name"], name, entry, items)
            problems += wrong
    if problems:
        raise BadInputs(problems)
    return counts


def _entry_problems(root: Path, name: str, entry: Any) -> Iterator[BadInput]:
    """What is wrong with the description of one data set."""

    def problem(key: str, text: str, expected: str) -> BadInput:
        field = f"{name}.{key}" if key else name
        return BadInput(text, file=root / INFO_FILE, field=field, expected=expected, fix=_FIX)

    if not isinstance(entry, dict):
        yield problem("", "not an object", "a description of the data set")
        return
    for key in sorted(set(entry) - set(ENTRY_KEYS)):
        yield problem(key, "unknown key", f"one of {', '.join(ENTRY_KEYS)}")
    if entry.get("formatting", "alpaca") != "alpaca":
        yield problem("formatting", f"{entry['formatting']!r}", "alpaca, the layout these views are in")
    if not isinstance(entry.get("ranking", False), bool):
        yield problem("ranking", f"{entry['ranking']!r}", "true or false")
    file = entry.get("file_name")
    if not isinstance(file, str) or not (root / file).is_file():
        yield problem("file_name", f"no file {file!r} here", "a file below this folder")
    columns = entry.get("columns")
    if not isinstance(columns, dict) or not all(isinstance(value, str) for value in columns.values()):
        yield problem("columns", "not an object of names", "{role: key of the items}")
        return
    for role in sorted(set(columns) - set(COLUMNS)):
        yield problem(f"columns.{role}", "unknown role", f"one of {', '.join(COLUMNS)}")
    for role in _REQUIRED_RANKING if entry.get("ranking") is True else _REQUIRED:
        if role not in columns:
            yield problem(f"columns.{role}", "missing", "the key that holds it")


def _items(path: Path) -> Iterator[tuple[int, Any]]:
    """(1-based number, item) of an array with an item a line, as the exporters write it."""
    lines = (text for _, line in read_lines(path) if (text := line.strip()) not in ("[", "]", "[]"))
    for number, text in enumerate(lines, start=1):
        yield number, parse_json(text.removesuffix(","), file=path, row=number)


def _check_items(
    path: Path, name: str, entry: Mapping[str, Any], limit: int | None
) -> tuple[int, list[BadInput]]:
    """(items looked at, what is wrong with them)."""
    columns: Mapping[str, str] = entry["columns"]
    required = {columns[role] for role in (_REQUIRED_RANKING if entry.get("ranking") else _REQUIRED)}
    problems: list[BadInput] = []
    kinds: dict[str, str] = {}
    count = 0
    for number, item in islice(_items(path), limit):
        count = number
        if not isinstance(item, dict):
            problems.append(BadInput("not an object", file=path, row=number, expected="an item", fix=_FIX))
            continue
        for text, key, expected in _item_problems(item, columns, required, kinds):
            problems.append(BadInput(text, file=path, row=number, field=key, expected=expected, fix=_FIX))
        if len(problems) > _MOST_PROBLEMS:
            return count, problems
    whole = limit is None or count < limit
    for role, key in columns.items():
        if whole and key not in kinds:
            # LLaMA-Factory looks every named column up in the table.
            problems.append(
                BadInput(
                    f"no item of {name} has it",
                    file=path,
                    field=key,
                    expected=f"the {role} of some item",
                    fix=f"leave columns.{role} out of {INFO_FILE}",
                )
            )
    return count, problems


def _item_problems(
    item: Mapping[str, Any], columns: Mapping[str, str], required: set[str], kinds: dict[str, str]
) -> Iterator[tuple[str, str, str]]:
    """(what is wrong, key, what was expected) of one item; `kinds` collects the type of every key."""
    history = columns.get("history")
    named = set(columns.values())
    for key in sorted(required - set(item)):
        yield "missing", key, "a string"
    for key, value in item.items():
        if value is None and key not in required:
            continue
        kind = "number" if type(value) in (int, float) else type(value).__name__
        if kinds.setdefault(key, kind) != kind:
            yield f"found {kind} where earlier items have {kinds[key]}", key, "one type in the whole file"
        if key == history:
            if not _is_history(value):
                yield f"found {value!r:.60}", key, "a list of [user, assistant] pairs of strings"
        elif key in named and not isinstance(value, str):
            yield f"found {type(value).__name__} {value!r:.60}", key, "a string"


def _is_history(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(pair, list) and len(pair) == 2 and all(isinstance(text, str) for text in pair)
        for pair in value
    )
