"""Broken copies of good files through every command: none gets through unseen, leaves half an output or a traceback.

What a harmed file must do: end the command with exit code 2 and its lines, with nothing written; or, where the harm
touched nothing that counts (a field that the command does not read), give exactly what the good file gives.
"""

import hashlib
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.commands import COMMANDS, Command, make_world
from tests.faults.conftest import INPUTS

EACH = max(1, INPUTS // len(COMMANDS))

Harm = Callable[[bytes, random.Random], bytes]


def cut(content: bytes, chance: random.Random) -> bytes:
    """The rest lost; within a line of text, since a file of fewer lines is a good one."""
    places = range(1, max(2, len(content) - 1))
    at = chance.choice(places)
    while len(content) > 2 and b"\n" in content[at - 1 : at + 1]:
        at = chance.choice(places)
    return content[:at]


def emptied(content: bytes, chance: random.Random) -> bytes:
    """Nothing left, but for the mark of a byte order: a split without records is an empty file, and a good one."""
    return b"\xef\xbb\xbf"


def wrong_bytes(content: bytes, chance: random.Random) -> bytes:
    """Bytes that are no UTF-8; in Parquet in the footer, since its data pages bear no checksum."""
    at = chance.randrange(len(content) - 8 if content[:4] == b"PAR1" else 0, len(content))
    return content[:at] + b"\xff\xfe\x00\xc3\x28" + content[at + 5 :]


def swapped(content: bytes, chance: random.Random) -> bytes:
    """Another file altogether."""
    return chance.choice(
        [b"<html>404 not found</html>\n", b"PAR1PAR1", b"\x1f\x8b\x08\x00", b"[[[[", b"null\n"]
    )


def torn(content: bytes, chance: random.Random) -> bytes:
    """A block in the middle lost, as after a broken copy; of text that could be a sentence less, which nobody sees."""
    if content[:1] in (b"{", b"["):
        return spoilt_value(content, chance)
    at = chance.randrange(1, max(2, len(content) - 64))
    return content[:at] + content[at + chance.randrange(1, 64) :]


def spoilt_value(content: bytes, chance: random.Random) -> bytes:
    """A value of JSON replaced by one of another type, a key dropped, or a row put in twice."""
    lines = content.splitlines(keepends=True)
    at = chance.randrange(len(lines))
    try:
        value = json.loads(lines[at])
    except ValueError:
        try:
            value, lines, at = json.loads(content), [content], 0
        except ValueError:
            return cut(content, chance)
    return b"".join(
        [*lines[:at], json.dumps(_spoil(value, chance), allow_nan=True).encode(), b"\n", *lines[at + 1 :]]
    )


FREE = {
    # What a corpus says beside its texts and is handed on in `meta`; some of its subsets lack it.
    "meta",
    "copyright",
    "domain",
    "metadata",
    "task_type",
    "human_verified",
    "answer_from",
    "frames",
    "services",
    # Labels that a tree of records from elsewhere may lack; views and references ask for them.
    "bucket_id",
    "length_bin",
    "style_bucket",
    "split",
    "dataset",
}
"""Keys that may be absent or anything, so that nobody can tell that they are spoilt."""


def _spoil(value: object, chance: random.Random) -> object:
    """One place of a JSON value, chosen at random, spoilt."""
    if isinstance(value, dict) and value.keys() - FREE and chance.random() < 0.9:
        key = chance.choice(sorted(value.keys() - FREE))
        if chance.random() < 0.3:
            return {name: part for name, part in value.items() if name != key}
        return {**value, key: _spoil(value[key], chance)}
    if isinstance(value, list) and value and chance.random() < 0.7:
        at = chance.randrange(len(value))
        return [*value[:at], _spoil(value[at], chance), *value[at + 1 :]]
    strange = [None, True, -1, 1e300, float("nan"), "", "\ud800", [], {}, [[]], {"a": 1}]
    return chance.choice([other for other in strange if type(other) is not type(value)])


HARMS: dict[str, Harm] = {
    harm.__name__: harm for harm in (cut, emptied, wrong_bytes, swapped, torn, spoilt_value)
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("fuzz") / "world")


def written(out: Path) -> dict[str, str]:
    """{file: digest} of what a command left; times and folders in manifests and names aside."""
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file() and "manifest" not in path.name
    }


def harmed_files(command: Command, world: Path) -> list[Path]:
    found = [path for pattern in command.reads for path in world.glob(pattern) if path.is_file()]
    assert found, command.reads
    return sorted(found)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_no_broken_file_gets_through(
    command: Command, world: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    good = tmp_path / "good"
    assert command.run(world, good) == 0, capfd.readouterr().err
    expected = written(good)
    chance = random.Random(command.name)
    for number in range(EACH):
        name = list(HARMS)[(COMMANDS.index(command) + number) % len(HARMS)]
        path = chance.choice(harmed_files(command, world))
        content = path.read_bytes()
        broken = HARMS[name](content, chance)
        what = f"{command.name}: {path.relative_to(world)}, {name} ({number})"
        out = tmp_path / f"out{number}"
        out.mkdir()
        capfd.readouterr()
        path.write_bytes(broken)
        try:
            code = command.run(world, out)
        except Exception as error:
            keep = Path(os.environ.get("FAULT_KEEP", tmp_path)) / f"{number}{path.suffix}"
            keep.write_bytes(broken)
            raise AssertionError(f"{what}: {type(error).__name__}: {error}; kept as {keep}") from error
        finally:
            path.write_bytes(content)
        said = capfd.readouterr().err
        if code == 2:
            assert said.strip(), what
            assert "Traceback" not in said, what
            assert not [each for each in out.rglob("*") if each.is_file()], f"{what}: files left behind"
            assert max(map(len, said.splitlines())) < 2000, f"{what}: {said[:300]}"
        else:
            assert code == 0, f"{what}: exit code {code}: {said}"
            assert written(out) == expected, f"{what}: another result from a broken file, without a word"
        shutil.rmtree(out)
