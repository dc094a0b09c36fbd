"""Records of every bucket by split, and how long the answers of each corpus are."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from polyalign.data.inventory import CorpusInventory
from polyalign.files import StrPath
from polyalign.plots.style import LINE, SOFT, new_figure, plain, save, settings
from polyalign.records import LENGTH_BINS, VIEW_SPLITS
from polyalign.tables.names import bucket_label, bucket_order, language_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SPLIT_COLOURS = {"train": "#0072B2", "val": "#E69F00", "test": "#009E73"}
_SPLIT_MARKS = {"train": "o", "val": "s", "test": "D"}
# Above one another, so that equal counts do not hide each other.
_SPLIT_PLACES = {"train": -0.2, "val": 0.0, "test": 0.2}
# From light to dark, so that the order survives grey.
_BIN_COLOURS = {"short": "#c6dbef", "medium": "#6baed6", "long": "#2171b5", "xlong": "#08306b"}
_ROW = 0.34
_KEY = (
    "Records of train, val and test. Length of the human answer in tokens: short up to 40, medium up to 120, "
    "long up to 240, xlong above."
)


def draw_inventory(corpora: Sequence[CorpusInventory], png: StrPath, pdf: StrPath) -> None:
    """Draw a row of two panels for each language: buckets by split, and length bins by corpus."""
    languages = list(dict.fromkeys(corpus.language for corpus in corpora))
    groups = [[corpus for corpus in corpora if corpus.language == language] for language in languages]
    rows = [max(len(_buckets(group)), len(group)) for group in groups]
    height = 1.5 + sum(_ROW * count + 0.95 for count in rows)
    with settings():
        figure = new_figure(12, height)
        panels = figure.subplots(len(groups), 2, squeeze=False, gridspec_kw={"height_ratios": rows})
        for (left, right), group, language in zip(panels, groups, languages, strict=True):
            _draw_buckets(left, group)
            _draw_lengths(right, group)
            left.set_title(f"{language_name(language)}: records of each bucket", loc="left", fontsize=11)
            right.set_title(f"{language_name(language)}: lengths of the answers, %", loc="left", fontsize=11)
        for column, (axes, anchor) in enumerate(zip(panels[0], (0.01, 0.52), strict=True)):
            handles, labels = axes.get_legend_handles_labels()
            figure.legend(
                handles,
                labels,
                loc="upper left",
                bbox_to_anchor=(anchor, 1 - 0.32 / height),
                ncols=len(labels),
                frameon=False,
                fontsize=9.5,
                handletextpad=0.3 if column == 0 else 0.5,
            )
        figure.suptitle("Inventory of the corpora", x=0.01, ha="left", fontsize=12)
        figure.text(0.01, 0.06 / height, _KEY, fontsize=8, color=SOFT)
        figure.tight_layout(rect=(0, 0.25 / height, 1, 1 - 0.42 / height), h_pad=1.6, w_pad=2.5)
        save(figure, png, pdf)


def _buckets(group: Sequence[CorpusInventory]) -> list[str]:
    found = {bucket for corpus in group for split in VIEW_SPLITS for bucket in corpus.splits[split].buckets}
    return sorted(found, key=bucket_order)


def _draw_buckets(axes: "Axes", group: Sequence[CorpusInventory]) -> None:
    """A row a bucket, a mark a split, on a log axis: buckets differ by orders of magnitude."""
    buckets = _buckets(group)
    for split in VIEW_SPLITS:
        counts = [sum(corpus.splits[split].buckets.get(bucket, 0) for corpus in group) for bucket in buckets]
        shown = [(count, place) for place, count in enumerate(counts) if count]
        axes.plot(
            [count for count, _ in shown],
            [place + _SPLIT_PLACES[split] for _, place in shown],
            _SPLIT_MARKS[split],
            color=_SPLIT_COLOURS[split],
            ms=5,
            markeredgecolor="white",
            ls="",
            label=split,
            zorder=3,
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda count, _: f"{count:,.0f}")
    axes.minorticks_off()
    for place in range(1, len(buckets)):
        if buckets[place].rpartition("|")[0] != buckets[place - 1].rpartition("|")[0]:
            axes.axhline(place - 0.5, color=LINE, lw=1.4)
    axes.set_yticks(range(len(buckets)), [bucket_label(bucket) for bucket in buckets])
    axes.set_ylim(len(buckets) - 0.4, -0.6)
    axes.set_xlabel("records, log scale")
    axes.tick_params(axis="y", length=0)
    plain(axes, grid="x")


def _draw_lengths(axes: "Axes", group: Sequence[CorpusInventory]) -> None:
    """A bar a corpus, divided among the length bins, with its records at the end."""
    for place, corpus in enumerate(group):
        counts = dict.fromkeys(LENGTH_BINS, 0)
        for split in VIEW_SPLITS:
            for bucket, count in corpus.splits[split].buckets.items():
                counts[bucket.rpartition("|")[2]] += count
        total, start = sum(counts.values()), 0.0
        for name, count in counts.items():
            share = 100 * count / total if total else 0.0
            label = name if place == 0 else None
            axes.barh(place, share, left=start, height=0.72, color=_BIN_COLOURS[name], label=label)
            if share >= 7:
                ink = "#1d2430" if name in ("short", "medium") else "white"
                axes.text(
                    start + share / 2,
                    place,
                    f"{share:.0f}",
                    ha="center",
                    va="center",
                    fontsize=8.5,
                    color=ink,
                )
            start += share
        axes.text(101.5, place, f"{total:,}", va="center", fontsize=9, color=SOFT)
    axes.set_yticks(range(len(group)), [corpus.dataset for corpus in group])
    axes.set_ylim(len(group) - 0.4, -0.6)
    axes.set_xlim(0, 100)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("share of the records, %; their number at the end")
    plain(axes, grid="x")
