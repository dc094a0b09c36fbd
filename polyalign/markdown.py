"""Markdown: tables of the generated pages, and the headings and links that the documentation's checks look at."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

_FENCE = re.compile(r"\s*(`{3,}|~{3,})")
_HEADING = re.compile(r"(#{1,6}) +(.*?)(?: +#+)? *$")
_CODE = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)")
# The end of a link or a picture alone, so that a picture inside a link counts as well as the link.
_TARGET = re.compile(r"\]\(\s*<?([^()\s<>]+(?:\([^()\s]*\)[^()\s]*)?)>?(?:\s+\"[^\"]*\")?\s*\)")
_ATTRIBUTE = re.compile(r"\b(?:src|href)=[\"']([^\"']+)[\"']")


def cell(text: str) -> str:
    """Text that may stand in a cell of a table."""
    return text.replace("|", "\\|")


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Lines of a table, an empty one last."""
    yield "| " + " | ".join(header) + " |"
    yield "|" + " --- |" * len(header)
    for row in rows:
        yield "| " + " | ".join(map(cell, row)) + " |"
    yield ""


def anchor(heading: str) -> str:
    """The anchor that GitHub gives a heading, its number among equal ones aside."""
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    kept = [letter for letter in text.lower() if letter.isalnum() or letter in " -_"]
    return "".join(kept).strip().replace(" ", "-")


def prose(text: str) -> Iterator[tuple[int, str]]:
    """(line number from 1, line) of all that is neither a fenced nor an indented block of code."""
    fence = ""
    after_blank = True
    for number, line in enumerate(text.splitlines(), start=1):
        found = _FENCE.match(line)
        if fence:
            fence = "" if found and found[1].startswith(fence) and line.strip() == found[1] else fence
            continue
        if found:
            fence, after_blank = found[1], False
            continue
        is_code = line.startswith("    ") and after_blank
        after_blank = not line.strip() or is_code
        if not is_code:
            yield number, line


def headings(text: str) -> list[str]:
    """The headings of a page, as they are written."""
    return [found[2] for _, line in prose(text) if (found := _HEADING.match(line))]


def anchors(text: str) -> set[str]:
    """Anchors of a page: those of its headings, the second of equal ones with -1 and so on."""
    seen: Counter[str] = Counter()
    found = set()
    for name in map(anchor, headings(text)):
        found.add(f"{name}-{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return found


def links(text: str) -> list[tuple[int, str]]:
    """(line number, target) of every link and picture."""
    found = []
    for number, line in prose(text):
        visible = _CODE.sub("", line)
        found += [(number, match[1]) for match in _TARGET.finditer(visible)]
        found += [(number, match[1]) for match in _ATTRIBUTE.finditer(visible)]
    return found
