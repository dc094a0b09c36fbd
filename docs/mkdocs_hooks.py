"""What MkDocs builds the site from: the pages as they lie in the repository, and a page for each file they link to.

Pages keep their places (README.md at the root, docs/ below it), so that links mean the same here as in the
repository. A link to code or configuration leads to a page that shows the file, since browsers only save such files.
"""

import os
import posixpath
import re
import sys
from pathlib import Path

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from polyalign.markdown import anchor, links  # noqa: E402

PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
SHOWN = ".source.md"
"""What the name of a file gets at its end to be that of the page that shows it."""
_LANGUAGES = {
    ".py": "python",
    ".smk": "python",
    ".yaml": "yaml",
    ".yml": "yaml",
    ".json": "json",
    ".toml": "toml",
}
_IMAGES = (".png", ".svg", ".css")
_LINK = re.compile(r"(\]\()([^()\s#]+)(#[^()\s]*)?(\))")


def _pages() -> list[str]:
    names = [name for name in PAGES if (ROOT / name).is_file()]
    return names + sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))


def _target(page: str, link: str) -> str | None:
    """The file of the repository that a link of a page names, or None where it leads elsewhere."""
    if re.match(r"[a-z]+:|#|/", link):
        return None
    name = posixpath.normpath(posixpath.join(posixpath.dirname(page), link.split("#")[0]))
    return name if (ROOT / name).is_file() else None


def _is_shown(name: str) -> bool:
    """Whether a link to the file leads to a page that shows it."""
    return not name.endswith((".md", *_IMAGES))


def _source_page(name: str) -> str:
    text = (ROOT / name).read_text(encoding="utf-8")
    language = _LANGUAGES.get(os.path.splitext(name)[1], "text")
    language = "python" if name == "Snakefile" else language
    return f"---\nsearch:\n  exclude: true\n---\n\n# {name}\n\n``````{language}\n{text.rstrip()}\n``````\n"


def _listed(part) -> list[str]:
    """Pages of a part of the navigation."""
    if isinstance(part, str):
        return [part]
    return [name for one in (part.values() if isinstance(part, dict) else part) for name in _listed(one)]


def on_config(config):
    """Anchors as GitHub makes them, so that a link to a heading works in both places; every page in the navigation."""
    config.mdx_configs.setdefault("toc", {})["slugify"] = lambda text, separator: anchor(text)
    further = sorted(set(_pages()) - set(_listed(config.nav)))
    if further:
        config.nav = [*config.nav, {"Further": further}]
    return config


def on_files(files, *, config):
    """The pages, what they link to, and what the theme brings."""
    kept = [file for file in files if file.src_dir != config.docs_dir]
    names = dict.fromkeys(_pages())
    shown = {}
    for page in list(names):
        for _, link in links((ROOT / page).read_text(encoding="utf-8")):
            target = _target(page, link)
            if target is not None and _is_shown(target):
                shown[target] = None
            elif target is not None:
                names[target] = None
    names |= dict.fromkeys(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.css"))
    for name in names:
        kept.append(File(name, str(ROOT), config.site_dir, config.use_directory_urls))
    for name in shown:
        kept.append(File.generated(config, name + SHOWN, content=_source_page(name)))
    return Files(kept)


def on_page_markdown(markdown, *, page, config, files):
    """Links to files that have a page lead there."""
    source = page.file.src_uri
    if source.endswith(SHOWN):
        return markdown

    def shown(found: re.Match[str]) -> str:
        target = _target(source, found[2])
        if target is None or not _is_shown(target):
            return found[0]
        return f"{found[1]}{found[2]}{SHOWN}{found[4]}"

    return _LINK.sub(shown, markdown)
