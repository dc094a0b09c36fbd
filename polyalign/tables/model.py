"""What a table is made of, whatever format it is written in.

A page (`main_en`) holds tables; a table has columns, and rows grouped by model; a cell has a number, its interval, a
word or all of these.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

ALL_LANGUAGES = "all"
"""Language of a page that is about every one of them."""

Tone = Literal["", "good", "bad", "soft"]
"""How a cell is to be read: in favour, against, or not to be relied on."""


@dataclass(frozen=True)
class Column:
    """A column: key of `Entry.estimates`, header, direction (1 larger is better, -1 smaller, 0 neither), digits.

    Attributes:
        detail: small print below the header, such as a number of rows.
        signed: numbers are differences and carry their sign.
        show_arrow: whether the header shows the direction; not where the title of the table does.
        words: cells hold text, which starts at the left and may break.
    """

    key: str
    header: str
    direction: int = 0
    digits: int = 3
    detail: str = ""
    signed: bool = False
    show_arrow: bool = True
    words: bool = False

    @property
    def arrow(self) -> str:
        return {1: "↑", -1: "↓", 0: ""}[self.direction]


@dataclass(frozen=True)
class Spread:
    """A value over several seeds: how many have it, standard deviation (n - 1), smallest and largest."""

    seeds: int
    deviation: float
    low: float
    high: float


@dataclass(frozen=True)
class Value:
    """One cell.

    Attributes:
        estimate: the number; None for none.
        low, high: its interval, where there is one; of the first seed.
        spread: over the seeds that the number is the mean of, where there are several.
        bold: best of its model by more than noise.
        p_value, p_holm: of a difference, as it is and corrected for all tests of the table.
        text: a word that goes with the number, or stands for it.
        tone: how to read it.
    """

    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    bold: bool = False
    p_value: float | None = None
    p_holm: float | None = None
    text: str = ""
    tone: Tone = ""
    spread: Spread | None = None


@dataclass(frozen=True)
class Row:
    """A method of a model, the human answers, or a difference from `baseline`; values by column key.

    Attributes:
        runs: where values are means over several seeds, a row for each of these, which CSV and figures show.
        seed: that of a row of `runs`.
    """

    model: str
    method: str
    label: str
    values: dict[str, Value]
    baseline: str = ""
    runs: "tuple[Row, ...]" = ()
    seed: int | None = None


@dataclass(frozen=True)
class Table:
    """A finished table, ready to be written in any format.

    Attributes:
        key: name in files that hold several tables.
        stub: header of the row labels.
        group: what rows are grouped by, for their header.
        notes: sentences about this table alone.
    """

    key: str
    title: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    stub: str = "Method"
    group: str = "Model"
    notes: Sequence[str] = ()

    @property
    def models(self) -> list[str]:
        """Models in row order."""
        return list(dict.fromkeys(row.model for row in self.rows))


@dataclass(frozen=True)
class Page:
    """Tables on one subject for one language or all, written to `{name}_{language}.md` or `{name}.md` and so on.

    Attributes:
        lead: a sentence or two that tell what the page is for.
        notes: what holds for all of its tables, as sentences.
    """

    name: str
    title: str
    language: str
    tables: Sequence[Table]
    lead: str = ""
    notes: Sequence[str] = field(default=())

    @property
    def file_name(self) -> str:
        """File name without suffix."""
        return self.name if self.language == ALL_LANGUAGES else f"{self.name}_{self.language}"
