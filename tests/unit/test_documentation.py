"""The documentation without building it: every link and anchor leads somewhere, and lists look alike wherever they are
rendered. `make docs` builds the site of the same pages, strictly."""

import re
from pathlib import Path

import pytest
import yaml

from polyalign.markdown import anchor, anchors, headings, links, prose

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
IDS = [str(page.relative_to(ROOT)) for page in PAGES]
AT_ROOT = {"README.md", "CONTRIBUTING.md", "CHANGELOG.md"}


def problems_of(page: Path) -> list[str]:
    found = []
    for number, link in links(page.read_text(encoding="utf-8")):
        if re.match(r"https?://|mailto:", link):
            continue
        path, _, fragment = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if path.startswith("/") or not target.is_relative_to(ROOT):
            found.append(f"line {number}: {link} leads out of the repository")
        elif not target.is_file():
            found.append(f"line {number}: {link}, no such file")
        elif fragment and (
            target.suffix != ".md" or fragment not in anchors(target.read_text(encoding="utf-8"))
        ):
            found.append(f"line {number}: {link}, no such heading")
    return found


def test_the_pages_are_there():
    assert set(IDS) >= AT_ROOT
    assert len(IDS) > 20


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_link_leads_somewhere(page):
    assert problems_of(page) == []


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_lists_and_tables_are_read_alike_everywhere(page):
    """A list or table needs an empty line before it, and what belongs to an item four spaces."""
    item = re.compile(r" *(?:[-*+]|\d+[.)]) ")
    found, before, in_list = [], "", False
    for number, line in prose(page.read_text(encoding="utf-8")):
        starts = item.match(line)
        indent = len(line) - len(line.lstrip())
        if starts and before.strip() and not in_list:
            found.append(f"line {number}: a list without an empty line before it")
        if line.startswith("|") and before.strip() and not before.startswith("|"):
            found.append(f"line {number}: a table without an empty line before it")
        if in_list and line.strip() and indent in (1, 2, 3) and (starts or not before.strip()):
            found.append(f"line {number}: belongs to an item and is indented by {indent}, not 4")
        if starts:
            in_list = True
        elif line.strip() and not indent and not before.strip():
            in_list = False
        before = line
    assert found == []


def test_the_navigation_names_each_page_once_and_no_other():
    # What it leaves out, docs/mkdocs_hooks.py puts at its end.
    navigation = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]

    def pages(part):
        if isinstance(part, str):
            return [part]
        return [name for one in (part.values() if isinstance(part, dict) else part) for name in pages(one)]

    listed = pages(navigation)
    assert len(listed) == len(set(listed))
    assert set(listed) <= set(IDS)


def test_a_stranger_finds_every_page_from_the_readme():
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached:
            continue
        reached.add(page)
        targets = [
            (page.parent / link.partition("#")[0]).resolve()
            for _, link in links(page.read_text(encoding="utf-8"))
        ]
        waiting += [target for target in targets if target.suffix == ".md" and target.is_file()]
    assert {page.name for page in PAGES} - {page.name for page in reached} == set()


def test_pictures_are_small():
    large = {
        path.name: path.stat().st_size
        for path in (ROOT / "docs/images").iterdir()
        if path.stat().st_size > 200_000
    }
    assert large == {}


class TestReader:
    def test_headings_and_anchors(self):
        text = "# A `b.c` d\n\ntext\n\n## Same\n\n```sh\n# comment\n```\n\n    # code\n\n## Same\n\n## [L](x.md), and\n"
        assert headings(text) == ["A `b.c` d", "Same", "Same", "[L](x.md), and"]
        assert anchors(text) == {"a-bc-d", "same", "same-1", "l-and"}
        assert anchor("models.\\<name>.build") == "modelsnamebuild"

    def test_links_pictures_and_code(self):
        text = "[a](b.md#c) `[no](no.md)`\n[![p](p.png)](q.md)\n\n    [no](no.md)\n\n<img src='r.svg'>\n"
        assert links(text + "```\n[no](no.md)\n```\n") == [
            (1, "b.md#c"),
            (2, "p.png"),
            (2, "q.md"),
            (6, "r.svg"),
        ]

    def test_a_wrong_link_is_found(self, tmp_path, monkeypatch):
        monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
        page = tmp_path / "page.md"
        page.write_text(
            "# One\n\n[a](#one) [b](#two) [c](other.md) [d](../x.md) [e](https://example.org/x)\n"
        )
        assert [problem.split(": ")[1] for problem in problems_of(page)] == [
            "#two, no such heading",
            "other.md, no such file",
            "../x.md leads out of the repository",
        ]
