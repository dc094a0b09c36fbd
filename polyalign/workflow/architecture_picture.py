"""The picture of docs/architecture.md: a box for each stage, a line of its own for what each stage hands on.

    svg = draw([Stage("data", "rules/data.smk", ("format_corpus",), ("results/formatted",)), ...], {("data", "critic")})

Stages stand below each other in the order of the Snakefile. To the right of a box begins its line, which runs down and
turns into every later stage that reads from it; to the left run the lines to earlier ones.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 940
_BOX_WIDTH = 620
_LANE = 15
_LINE = 16
_GAP = 18
_LETTER = 6.55
"""Width of a letter of the small print, about; lines are broken by it."""
_COLOURS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#B8860B", "#5b4b8a", "#56B4E9", "#8a3b12"),
    *("#2f6f4f", "#a0307a", "#4d6a8f", "#7a7a00"),
)
_INK, _SOFT, _EDGE, _FILL = "#1d2430", "#5b6675", "#b8c0cb", "#f7f9fb"

_STYLE = (
    "<style>text{font-family:'DejaVu Sans',Verdana,'Segoe UI',sans-serif}"
    f".name{{font-size:15px;font-weight:700;fill:{_INK}}}.file{{font-size:11.5px;fill:{_SOFT}}}"
    f".rule{{font-size:11.5px;fill:{_INK}}}.folder{{font-size:11.5px;fill:#0b6e4f}}</style>"
)


@dataclass(frozen=True)
class Stage:
    """A stage: its name, the file of its rules, their names, and the folders they write to."""

    name: str
    file: str
    rules: tuple[str, ...]
    folders: tuple[str, ...]


@dataclass(frozen=True)
class _Box:
    stage: Stage
    top: float
    height: float
    lines: tuple[tuple[str, str], ...]

    def port(self, share: float) -> float:
        """Height at which a line ends at the box, from 0 (top) to 1."""
        return self.top + 12 + share * (self.height - 24)


def _wrapped(words: Sequence[str], width: float) -> Iterator[str]:
    line = ""
    for word in words:
        longer = f"{line} · {word}" if line else word
        if line and len(longer) * _LETTER > width:
            yield line
            longer = word
        line = longer
    if line:
        yield line


def _boxes(stages: Sequence[Stage]) -> list[_Box]:
    top, boxes = 12.0, []
    for stage in stages:
        rules = [("rule", line) for line in _wrapped(stage.rules, _BOX_WIDTH - 28)]
        folders = [("folder", line) for line in _wrapped(stage.folders, _BOX_WIDTH - 28)]
        lines = (*rules, *folders)
        height = 34 + _LINE * len(lines) + 6
        boxes.append(_Box(stage, top, height, lines))
        top += height + _GAP
    return boxes


def _lanes(spans: dict[str, tuple[float, float]]) -> dict[str, int]:
    """A lane for each line, the shortest innermost; lines that do not overlap may share one."""
    taken: list[list[tuple[float, float]]] = []
    lanes = {}
    for name, (low, high) in sorted(spans.items(), key=lambda item: item[1][1] - item[1][0]):
        free = (n for n, used in enumerate(taken) if all(high < start or low > end for start, end in used))
        number = next(free, len(taken))
        if number == len(taken):
            taken.append([])
        taken[number].append((low, high))
        lanes[name] = number
    return lanes


def _text(x: float, y: float, words: str, kind: str, anchor: str = "start") -> str:
    return f'<text x="{x:g}" y="{y:g}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>'


def _box(box: _Box, left: float, colour: str) -> Iterator[str]:
    yield (
        f'<rect x="{left:g}" y="{box.top:g}" width="{_BOX_WIDTH}" height="{box.height:g}" rx="5" fill="{_FILL}" '
        f'stroke="{_EDGE}"/>'
    )
    yield f'<rect x="{left:g}" y="{box.top:g}" width="5" height="{box.height:g}" rx="2" fill="{colour}"/>'
    yield _text(left + 16, box.top + 23, box.stage.name, "name")
    yield _text(left + _BOX_WIDTH - 12, box.top + 22, box.stage.file, "file", "end")
    for number, (kind, line) in enumerate(box.lines):
        yield _text(left + 16, box.top + 34 + _LINE * (number + 0.75), line, kind)


def _line(
    colour: str, side: float, lane: float, start: float, ends: Sequence[float], dashed: bool
) -> Iterator[str]:
    """From the box's side at height `start` out to the lane and into the sides at heights `ends`."""
    farthest = max(ends, key=lambda end: abs(end - start))
    style = ' stroke-dasharray="5 4"' if dashed else ""
    path = f"M{side:g} {start:g}H{lane:g}V{farthest:g}"
    inward = 7 if lane > side else -7
    path += "".join(f"M{lane:g} {end:g}H{side + inward:g}" for end in ends)
    yield f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.8"{style}/>'
    for end in ends:
        tip = f"{side:g},{end:g} {side + inward:g},{end - 4:g} {side + inward:g},{end + 4:g}"
        yield f'<polygon points="{tip}" fill="{colour}"/>'


def _side(
    boxes: Sequence[_Box], edges: set[tuple[str, str]], down: bool, left: float, colours: dict[str, str]
) -> Iterator[str]:
    """Lines to later stages on the right (`down`), or to earlier ones on the left."""
    order = {box.stage.name: number for number, box in enumerate(boxes)}
    mine = {edge for edge in edges if (order[edge[0]] < order[edge[1]]) == down}
    sources = [box.stage.name for box in boxes if any(edge[0] == box.stage.name for edge in mine)]
    # Each line that ends at a box has a height of its own there, in the order of the stages it comes from.
    starts, ends = {}, {}
    for box in boxes:
        ports = [("in", name) for name in sources if (name, box.stage.name) in mine]
        ports += [("out", box.stage.name)] if box.stage.name in sources else []
        for number, (kind, name) in enumerate(ports if down else ports[::-1]):
            height = box.port((number + 0.5) / len(ports))
            if kind == "out":
                starts[name] = height
            else:
                ends.setdefault(name, []).append(height)
    spans = {name: (min(starts[name], *ends[name]), max(starts[name], *ends[name])) for name in sources}
    for name, number in _lanes(spans).items():
        side = left + _BOX_WIDTH if down else left
        away = (22 + number * _LANE) * (1 if down else -1)
        yield from _line(colours[name], side, side + away, starts[name], ends[name], not down)


def draw(stages: Sequence[Stage], edges: set[tuple[str, str]]) -> str:
    """The picture as SVG.

    Args:
        stages: in the order in which they stand below each other.
        edges: (producer, consumer) of stages; those of a stage with itself are left out.
    """
    boxes = _boxes(stages)
    colours = {stage.name: _COLOURS[number % len(_COLOURS)] for number, stage in enumerate(stages)}
    known = {(start, end) for start, end in edges if start != end and start in colours and end in colours}
    left = 100.0
    height = boxes[-1].top + boxes[-1].height + 12
    size = f'viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" height="{height:g}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        "<title>Stages of the workflow, their rules, and who reads what</title>",
        _STYLE,
        f'<rect width="{WIDTH}" height="{height:g}" fill="#fff"/>',
        *_side(boxes, known, True, left, colours),
        *_side(boxes, known, False, left, colours),
    ]
    for box in boxes:
        parts += _box(box, left, colours[box.stage.name])
    return "\n".join([*parts, "</svg>"]) + "\n"
