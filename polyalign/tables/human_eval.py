"""The page of a blind human evaluation: means, preferences, agreement, and correlations with metrics and judges.

    human_eval_page(summary)

takes a summary as `polyalign.human_eval.summary` makes it. What the figures mean: docs/human_eval.md.
"""

from collections.abc import Mapping
from typing import Any

from polyalign.tables.model import Column, Page, Row, Table, Value
from polyalign.tables.names import language_name, names_of, spoken


def _value(found: Mapping[str, Any] | None) -> Value:
    if found is None or found["estimate"] is None:
        return Value(text="–")
    return Value(found["estimate"], found["low"], found["high"])


def human_eval_page(summary: Mapping[str, Any]) -> Page:
    """Scores, preferences, agreement and correlations, as far as there are any."""
    tables = [_scores_table(summary["single"])] if summary["single"] else []
    tables += [_preferences_table(summary["pairwise"])] if summary["pairwise"] else []
    tables += [_agreement_table(summary), *_correlation_tables(summary)]
    people = f"{len(summary['annotators'])} annotator{'s' if len(summary['annotators']) != 1 else ''}"
    draws, share = summary["bootstrap"]["replicates"], summary["bootstrap"]["confidence"]
    notes = [
        f"Ratings of {people}; {share:.0%} intervals from {draws:,} bootstrap replicates over prompts."
        if draws
        else f"Ratings of {people}; no intervals were asked for.",
        "A tie is half a win. Strengths are logarithmic with mean 0.",
        "Agreement is Krippendorff's alpha, ordinal for scores and nominal for choices.",
    ]
    language = summary["language"]
    return Page(
        "human_eval",
        f"{language_name(language)}: blind human evaluation",
        language,
        tables,
        lead="People judged the answers without knowing whose they are.",
        notes=notes,
    )


def _scores_table(single: Mapping[str, Any]) -> Table:
    names = [*single["agreement"], "overall"]
    columns = [*(Column(name, spoken(name), 1, 2) for name in names), Column("n", "Ratings", 0, 0)]
    rows = []
    for system, found in single["scores"].items():
        values = {name: _value(found[name]) for name in names}
        values["n"] = Value((found["overall"] or {"n": 0})["n"])
        rows.append(Row(*names_of(system), values))
    return Table("scores", "Mean scores from 1 to 5", columns, rows)


def _preferences_table(pairwise: Mapping[str, Any]) -> Table:
    columns = [
        Column("win_rate", "Win rate", 1),
        Column("strength", "Bradley-Terry strength", 1, 2, signed=True),
        Column("n", "Comparisons", 0, 0),
    ]
    rows = []
    for system, found in pairwise["preferences"].items():
        values = {name: _value(found[name]) for name in ("win_rate", "strength")}
        rows.append(Row(*names_of(system), {**values, "n": Value(found["n"])}))
    return Table("preferences", "Preferences", columns, rows)


def _agreement_table(summary: Mapping[str, Any]) -> Table:
    columns = [Column("alpha", "Alpha", 1), Column("items", "Items rated twice or more", 0, 0)]
    found = {
        **(summary["single"] or {}).get("agreement", {}),
        **(summary["pairwise"] or {}).get("agreement", {}),
    }
    rows = []
    for name, value in found.items():
        alpha = Value(text=value["reason"]) if value["estimate"] is None else _value(value)
        rows.append(
            Row("All annotators", name, spoken(name), {"alpha": alpha, "items": Value(value["items"])})
        )
    return Table("agreement", "Agreement of the annotators", columns, rows, "Rating", "Among")


def _correlation_tables(summary: Mapping[str, Any]) -> list[Table]:
    """One table of both modes: the overall score and the strength of a system against each metric."""
    found = summary["correlations"]
    if not found:
        return []
    heads = {"single": "Overall score", "pairwise": "Strength"}
    columns = [Column(mode, heads[mode], 0, 2, detail="Spearman", signed=True) for mode in found]
    rows = []
    for metric in dict.fromkeys(name for part in found.values() for name in part):
        values = {mode: part[metric] for mode, part in found.items()}
        cells = {
            mode: Value(value["spearman"], text=value.get("reason", "")) for mode, value in values.items()
        }
        cells["systems"] = Value(max(value["systems"] for value in values.values()))
        rows.append(Row("All systems", metric, metric, cells))
    columns.append(Column("systems", "Systems", 0, 0))
    return [Table("correlations", "Rank correlation with metrics", columns, rows, "Metric", "Over")]
