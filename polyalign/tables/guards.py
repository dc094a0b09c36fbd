"""The refusal of reports that must not stand in one table."""

from collections.abc import Sequence
from pathlib import Path

from polyalign.errors import BadInput
from polyalign.features.origin import LM_GROUP, MadeBy
from polyalign.methods import ORACLE_METHODS
from polyalign.metrics.report import Report
from polyalign.prompts import MODE_OF_METHOD
from polyalign.tables.entries import Entry


def _refuse_other_prompt(entry: Entry) -> None:
    """No row of a table may come from another prompt than its method's, least of all one with the reference answer."""
    expected, mode = MODE_OF_METHOD.get(entry.method), entry.report.prompt_mode
    if entry.report.oracle or entry.method in ORACLE_METHODS:
        prompt = "from a prompt that shows the reference answer"
    elif mode is not None and expected is not None and mode != expected:
        prompt = f"with prompt mode {mode}"
    else:
        return
    raise BadInput(
        f"{entry.report.cell.name} was predicted {prompt}",
        file=entry.file,
        field="prompt_mode",
        expected=f"{expected}, the prompt of {entry.method}" if expected else "the prompt of a method",
        fix="leave this report out, or predict the cell again with the method's own prompt",
    )


def refuse_different(entries: Sequence[Entry], what: str, values: Sequence[object], fix: str) -> None:
    """Raise unless all values are equal, naming the first file that differs from the commonest value."""
    texts = [str(value) for value in values]
    usual = max(texts, key=lambda text: (texts.count(text), -texts.index(text)))
    for entry, text in zip(entries, texts, strict=True):
        if text != usual:
            other = entries[texts.index(usual)].file
            raise BadInput(
                f"{what} differs from the other rows of the table: {text}",
                file=entry.file,
                expected=f"{usual}, as in {other}",
                fix=fix,
            )


def _text_tools(report: Report) -> str:
    """Tools of a report's text features; the scorer is compared within a model."""
    tools = report.features.backends if report.features else {}
    return (
        "; ".join(f"{group}: {tool}" for group, tool in sorted(tools.items()) if group != LM_GROUP) or "none"
    )


def _scorer(report: Report) -> str:
    """Who scored a report's language-model features, and how."""
    if not report.features:
        return "none"
    origin = MadeBy.of_stated(report.features.model_dump())
    return ", ".join(filter(None, [origin.scorer_name, origin.backends.get(LM_GROUP)]))


def check_comparable(entries: Sequence[Entry], *, same_cell: bool = False) -> None:
    """Refuse a table whose rows cannot be compared.

    Args:
        same_cell: a cell may stand there more than once, from several runs.

    Raises:
        BadInput: an oracle prompt, a cell twice, or reports that differ in split, rows, feature set, parameters, or
            (within a model) scorer. Says which file, and how to make it comparable.
    """
    if not entries:
        raise BadInput("no reports", fix="give at least one metrics file")
    seen: dict[str, Path] = {}
    for entry in entries:
        _refuse_other_prompt(entry)
        name = entry.report.cell.name
        if name in seen and not same_cell:
            raise BadInput(
                f"cell {name} stands in {seen[name]} too", file=entry.file, fix="give each cell once"
            )
        seen[name] = entry.file
    again = "evaluate the cells again on the same rows with the same settings"
    reports = [entry.report for entry in entries]
    refuse_different(entries, "split", [r.split for r in reports], again)
    counts = [f"{r.coverage.answered} of {r.coverage.rows_expected} rows answered" for r in reports]
    # The digest decides; the counts are what a reader can make sense of.
    sets = [
        f"{count} (digest {r.coverage.source_index_digest[:12]})"
        for count, r in zip(counts, reports, strict=True)
    ]
    refuse_different(
        entries,
        "the set of source_index",
        sets,
        "predict the missing rows, or add --common-rows, which evaluates every cell on the rows that all have",
    )
    features = [(r.features.feature_set, r.features.n_features) if r.features else None for r in reports]
    sets = [f"{found[0]} with {found[1]} features" if found else "none" for found in features]
    refuse_different(entries, "feature set", sets, "compute the features of every cell with one set")
    tools = [_text_tools(r) for r in reports]
    refuse_different(
        entries, "tools of the features", tools, "compute the features of every cell with the same tools"
    )
    refuse_different(entries, "parameters", [r.parameters for r in reports], again)
    for model in dict.fromkeys(entry.model for entry in entries):
        group = [entry for entry in entries if entry.model == model]
        for name in ("references", "human_features"):
            digests = [
                entry.report.inputs[name].sha256[:12] if name in entry.report.inputs else "none"
                for entry in group
            ]
            refuse_different(
                group,
                name.replace("_", " "),
                digests,
                "evaluate every cell of the model with the same references and human features",
            )
        scorers = [_scorer(entry.report) for entry in group]
        refuse_different(
            group, "scorer", scorers, "score the features of every cell of the model with one scorer"
        )
