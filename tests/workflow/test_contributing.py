"""CONTRIBUTING.md to the letter, on a copy of the repository: every example is added and then proves itself.

The page is a list of steps. `New file X:` and `# X` on a block's first line say where the block goes; a `diff` block
changes files; an `sh` block is run, and the lines of the `text` block after it must be in what it says. Sections build
on each other.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.demo_world import copy_checkout

PAGE = Path(__file__).resolve().parents[2] / "CONTRIBUTING.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
NEW_FILE = re.compile(r"New file `([^`]+)`:\s*\Z")
SECTIONS = ("A corpus", "A model", "A method", "A metric", "An engine", "A detector")


@dataclass(frozen=True)
class Step:
    """A block of the page: its kind, its text and the prose before it."""

    kind: str
    text: str
    before: str


def steps_of(section: str) -> Iterator[Step]:
    end = 0
    for found in BLOCK.finditer(section):
        yield Step(found[1], found[2], section[end : found.start()])
        end = found.end()


def sections() -> dict[str, list[Step]]:
    parts = re.split(r"^## (.+)$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {title: list(steps_of(text)) for title, text in zip(parts[1::2], parts[2::2], strict=True)}


def apply_diff(root: Path, text: str) -> None:
    """Change files: each hunk's context and `-` lines must stand in the file exactly once."""
    for part in re.split(r"^--- ", text, flags=re.MULTILINE)[1:]:
        name, _, body = part.partition("\n")
        path = root / name.strip()
        content = path.read_text(encoding="utf-8")
        for hunk in re.split(r"^@@\n", body, flags=re.MULTILINE):
            lines = [line or " " for line in hunk.splitlines()]
            assert all(line[0] in " +-" for line in lines), f"{name}: {hunk}"
            old = "".join(f"{line[1:]}\n" for line in lines if line[0] != "+")
            new = "".join(f"{line[1:]}\n" for line in lines if line[0] != "-")
            # At the start of a line, so that `base_dpo:` is not taken for `dpo:`.
            assert f"\n{content}".count(f"\n{old}") == 1, (
                f"{name}: stands there {content.count(old)} times:\n{old}"
            )
            content = f"\n{content}".replace(f"\n{old}", f"\n{new}")[1:]
        path.write_text(content, encoding="utf-8")


def run(root: Path, commands: str) -> str:
    """What the commands say; they must succeed."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-e", "-c", commands],
        cwd=root,
        env={**{k: v for k, v in os.environ.items() if k != "PYTHONPATH"}, "PATH": path},
        text=True,
        capture_output=True,
        timeout=300,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, f"{commands}\n{said[-4000:]}"
    return said


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    return copy_checkout(PAGE.parent, tmp_path_factory.mktemp("contributing") / "polyalign")


def test_the_page_has_an_example_of_everything():
    found = sections()
    assert tuple(title for title in found if re.match(r"An? ", title)) == SECTIONS
    for title in SECTIONS:
        assert any(step.kind == "text" for step in found[title]), f"{title} proves nothing"


@pytest.mark.parametrize("title", SECTIONS)
def test_the_example_works(checkout, title):
    said = ""
    for step in sections()[title]:
        new = NEW_FILE.search(step.before)
        named = re.match(r"# (\S+\.yaml)\n", step.text)
        if step.kind == "diff":
            apply_diff(checkout, step.text)
        elif step.kind == "sh":
            said = run(checkout, step.text)
        elif step.kind == "text":
            assert [line for line in step.text.splitlines() if line not in said] == [], said[-3000:]
        else:
            name = new[1] if new else named[1]
            (checkout / name).write_text(step.text, encoding="utf-8")


def test_what_was_added_is_formatted_and_clean(checkout):
    run(checkout, "ruff check polyalign && ruff format --check polyalign && snakefmt --check rules")
