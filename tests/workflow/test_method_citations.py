"""What the code cites of docs/method.md is there, and the page's own links lead somewhere."""

import re
from pathlib import Path

PAGE = Path("docs/method.md")
_CITATION = re.compile(r"docs/method\.md, (\w.{0,40})")


def headings(root: Path) -> list[str]:
    text = (root / PAGE).read_text(encoding="utf-8")
    return re.findall(r"^## (.+)$", text, flags=re.MULTILINE)


def test_every_citation_names_a_heading(root: Path):
    known = headings(root)
    files = [
        file
        for folder in ("polyalign", "workflow_scripts", "rules", "config", "docs")
        for file in (root / folder).rglob("*")
        if file.suffix in (".py", ".smk", ".yaml", ".md")
    ]
    wrong, found = [], 0
    for file in sorted(files):
        # A citation may run over the end of a line, in a comment too.
        text = re.sub(r"\s*\n\s*#?\s*", " ", file.read_text(encoding="utf-8"))
        for cited in _CITATION.findall(text):
            found += 1
            if not any(re.match(rf"{re.escape(heading)}(?!\w| \()", cited) for heading in known):
                wrong.append(f"{file.relative_to(root)}: {cited}")
    assert found > 20
    assert wrong == []


def test_links_within_the_page_lead_to_headings(root: Path):
    anchors = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings(root)}
    links = re.findall(r"\]\(#([^)]+)\)", (root / PAGE).read_text(encoding="utf-8"))
    assert len(links) > len(anchors)
    assert set(links) == anchors
