"""Write docs/licences.md, under which licence each locked dependency is, from what is installed.

    python -m polyalign.workflow.licences_page

Run it after every change of requirements/cpu.txt, in the environment made of it; a test holds the page to the packages
and refuses a licence that is not allowed.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from polyalign.digest import ROOT
from polyalign.errors import BadInput
from polyalign.files import StrPath, write_text
from polyalign.markdown import table

LOCK = ROOT / "requirements" / "cpu.txt"
WANTED = ROOT / "requirements" / "cpu.in"
PAGE_FILE = ROOT / "docs" / "licences.md"

PERMISSIVE = frozenset(
    {
        *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0", "CNRI-Python", "ISC"),
        *("LLVM-exception", "MIT", "MIT-CMU", "PSF-2.0", "Unlicense", "Zlib"),
    }
)
FILE_LEVEL = frozenset({"MPL-2.0", "LGPL-3.0-or-later"})
"""Copyleft that stays with the package's own files: using it as it is asks nothing of ours."""
EXCEPTIONS = {
    "docutils": "comes with Snakemake; the GPL holds for an Emacs Lisp file that nothing here uses",
    "krippendorff": "imported by the summaries of human evaluation and judges alone, and not redistributed",
    "mauve-text": "imported for MAUVE alone, and not redistributed",
}
"""Packages under another licence, and why they may stay."""

_NAMES = {
    "apache": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "apache 2.0 license": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "bsd": "BSD-3-Clause",
    "bsd license": "BSD-3-Clause",
    "bsd 3-clause license": "BSD-3-Clause",
    "gnu general public license (gpl)": "GPL-2.0-or-later",
    "gnu general public license v3 (gplv3)": "GPL-3.0-only",
    "isc license": "ISC",
    "isc license (iscl)": "ISC",
    "mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "psfl": "PSF-2.0",
    "public domain": "Unlicense",
    "python software foundation license": "PSF-2.0",
}
_TEXTS = {
    "Permission is hereby granted, free of charge": "MIT",
    "Apache License": "Apache-2.0",
    "Redistribution and use in source and binary forms": "BSD-3-Clause",
}
_IDENTIFIER = re.compile(r"[A-Za-z0-9.+-]+")
_OPERATORS = {"AND", "OR", "WITH"}


@dataclass(frozen=True)
class Package:
    """A locked package: its licence as an SPDX expression, and whether it is asked for or comes with another."""

    name: str
    version: str
    licence: str
    is_direct: bool

    @property
    def problem(self) -> str | None:
        """Why the licence is not allowed, or None."""
        if self.name in EXCEPTIONS or is_allowed(self.licence):
            return None
        return f"{self.name} {self.version} is under {self.licence}"


def is_allowed(expression: str) -> bool:
    """Whether an SPDX expression without nested brackets asks nothing of code that uses the package."""
    choices = re.split(r"\s+OR\s+", expression) if "(" not in expression else [expression]
    return any(
        all(name in PERMISSIVE | FILE_LEVEL for name in _IDENTIFIER.findall(choice) if name not in _OPERATORS)
        for choice in choices
    )


def _pins(lock: StrPath) -> Iterator[tuple[str, str]]:
    for line in Path(lock).read_text(encoding="utf-8").splitlines():
        if "==" in line and not line.startswith("#"):
            name, version = line.split(";")[0].split("==")
            yield name.strip(), version.strip()


def _known(text: str) -> str | None:
    """The SPDX expression that a licence's name stands for."""
    text = text.strip()
    if text.lower() in _NAMES:
        return _NAMES[text.lower()]
    names = [name for name in _IDENTIFIER.findall(text) if name not in _OPERATORS]
    return text if names and all(name in PERMISSIVE | FILE_LEVEL for name in names) else None


def _of_file(found: Distribution) -> str | None:
    """The licence whose text a package ships."""
    for file in found.files or ():
        if re.match(r"LICEN[CS]E|COPYING", file.name, flags=re.IGNORECASE) and ".dist-info" in str(file):
            text = Path(str(found.locate_file(file))).read_text(encoding="utf-8", errors="replace")
            for sentence, licence in _TEXTS.items():
                if sentence in text:
                    return licence
    return None


def licence_of(found: Distribution) -> str:
    """SPDX expression of an installed package; `unknown` where neither metadata nor licence file tell.

    The expression comes first, then a name that is known, then classifiers (all of them hold), then the file.
    """
    metadata = found.metadata
    if expression := metadata.get("License-Expression"):
        return str(expression)
    if (stated := metadata.get("License")) and (known := _known(str(stated))):
        return known
    kinds = [line.split(" :: ")[-1] for line in metadata.get_all("Classifier") or () if "License ::" in line]
    kinds = [kind for kind in kinds if kind not in ("OSI Approved", "DFSG approved")]
    if kinds and all(_known(kind) for kind in kinds):
        return " AND ".join(dict.fromkeys(str(_known(kind)) for kind in kinds))
    return _of_file(found) or "unknown"


def packages(lock: StrPath = LOCK, wanted: StrPath = WANTED) -> list[Package]:
    """Every locked package with its licence.

    Raises:
        BadInput: a package is not installed.
    """
    direct = {_plain(line) for line in Path(wanted).read_text(encoding="utf-8").splitlines()}
    result = []
    for name, version in _pins(lock):
        try:
            licence = licence_of(distribution(name))
        except PackageNotFoundError:
            raise BadInput(
                f"{name} is not installed", file=lock, fix="run this in the environment of the lock file"
            ) from None
        result.append(Package(name, version, licence, _plain(name) in direct))
    return result


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def licences_page() -> str:
    """The text of docs/licences.md."""
    found = packages()
    counts = Counter(package.licence for package in found)
    lines = [
        "# Licences of the dependencies",
        "",
        "Every package that `requirements/cpu.txt` locks, with its licence as an SPDX expression. Written by",
        "`python -m polyalign.workflow.licences_page` from what is installed: change the requirements, not this page.",
        "A test refuses a package whose licence is neither permissive nor copyleft of its own files alone (MPL, LGPL),",
        "unless it is one of the exceptions below. No package is redistributed here. The separate environments of vLLM",
        "and of this documentation are not listed.",
        "",
        "## Exceptions",
        "",
        *table(
            ["package", "licence", "why it may stay"],
            [[p.name, p.licence, EXCEPTIONS[p.name]] for p in found if p.name in EXCEPTIONS],
        ),
        "## In all",
        "",
        *table(["licence", "packages"], [[name, str(count)] for name, count in counts.most_common()]),
        "## Packages",
        "",
        "`direct`: named in `requirements/cpu.in`; the others come with these.",
        "",
        *table(
            ["package", "version", "licence", ""],
            [[p.name, p.version, p.licence, "direct" if p.is_direct else ""] for p in found],
        ),
    ]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    write_text(PAGE_FILE, licences_page())
