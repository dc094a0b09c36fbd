"""What can be said against a single report: every check takes its facts and yields findings.

Codes, thresholds and what to do are listed in docs/audit.md.
"""

from collections.abc import Iterator

from polyalign.audit.facts import Facts, Finding
from polyalign.audit.names import is_sample, method_of
from polyalign.metrics.aggregate import geometric_mean, naturalness
from polyalign.prompts import MODE_OF_METHOD

EMPTY_SHARES = {"error": 0.2, "warning": 0.05, "note": 0.01}
CUT_SHARES = {"warning": 0.05, "note": 0.01}
DOMINATED_SHARES = {"error": 0.5, "warning": 0.25}
CONSTANT_SHARE = 0.01
SEQUENCE_LENGTHS = (8192, 4096, 3072, 2048, 1024, 512)
"""Maximum sequence lengths that may have gone into BNG as a feature."""
LARGE_BNG = {"error": 20.0, "warning": 3.0}
ONE_BUCKET = 0.5
LOW_HCR = 0.05
COPIED = {"overall": 0.5, "long": 0.2}
FEW_TEXTS = 200
FEW_ROWS = 50


def severity_of(value: float, levels: dict[str, float]) -> str | None:
    """The most severe level that a value reaches."""
    return next((severity for severity, least in levels.items() if value >= least), None)


def check_prompt(facts: Facts) -> Iterator[Finding]:
    """Predictions that saw the reference, or that were prompted as another method."""
    if facts.oracle:
        named = f" (run {facts.run})" if facts.run else ""
        score = facts.value("qa_f1")
        yield Finding(
            "oracle",
            "error",
            f"The prompts of these predictions showed the reference answer{named}"
            + (f"; F1 is {score:.3f}." if score is not None else "."),
            {"run": facts.run, "prompt_mode": facts.prompt_mode, "qa_f1": score},
            "Never show this report as a method. Predict the cell again with the method's own prompt.",
        )
    expected = MODE_OF_METHOD.get(facts.method or "")
    if facts.prompt_mode and expected and facts.prompt_mode != expected and not facts.oracle:
        yield Finding(
            "other_prompt",
            "error",
            f"{facts.method} was predicted with prompt mode {facts.prompt_mode}, its own is {expected}.",
            {"prompt_mode": facts.prompt_mode, "expected": expected},
            "Predict the cell again with its own prompt.",
        )
    if facts.published and facts.run and facts.method:
        of_run, of_name = method_of(facts.run), facts.method
        if of_run != of_name and "hdporef" not in (of_run, of_name):
            yield Finding(
                "other_method",
                "error",
                f"The report is named {of_name}, the run it evaluates is {facts.run}, that is {of_run}.",
                {"method": of_name, "run": facts.run, "method_of_run": of_run},
                "Do not use it for either method before it is clear which predictions were evaluated.",
            )


def partial_rows(rows: int | None, expected: int | None) -> Iterator[Finding]:
    """Fewer rows than the split has."""
    if rows is not None and expected and rows < expected:
        yield Finding(
            "partial_rows",
            "error",
            f"Taken on {rows:,} of {expected:,} rows ({rows / expected:.0%}).",
            {"rows": rows, "rows_expected": expected, "share": rows / expected},
            "Predict the missing rows, or evaluate every method on the rows they have in common (--common-rows).",
        )


def empty_answers(empty: int | None, rows: int | None) -> Iterator[Finding]:
    """Many answers without text."""
    share = empty / rows if empty and rows else 0.0
    severity = severity_of(share, EMPTY_SHARES)
    if severity:
        yield Finding(
            "empty_answers",
            severity,
            f"{empty:,} of {rows:,} answers ({share:.0%}) are empty.",
            {"empty": empty, "rows": rows, "share": share},
            "Look at the prompts and stop tokens of the run; every mean counts empty answers as answers.",
        )


def check_rows(facts: Facts) -> Iterator[Finding]:
    """Rows that were not answered, not evaluated, empty, cut or broken."""
    rows, expected = facts.rows, facts.rows_expected
    if facts.common_with:
        yield Finding(
            "common_rows",
            "note",
            f"Evaluated on the {rows:,} rows that {facts.common_with + 1} prediction files have in common.",
            {"rows": rows, "files": facts.common_with + 1},
            "Compare it with reports on the same rows alone.",
        )
    yield from partial_rows(rows, expected)
    if facts.published and rows and is_sample(f"{facts.name} {facts.run or ''}"):
        yield Finding(
            "sample",
            "warning",
            f"By its name this is a sample of the split: {rows:,} rows.",
            {"rows": rows},
            "Use the report on the whole split where there is one.",
        )
    yield from empty_answers(facts.empty, rows)
    severity = severity_of(facts.cut or 0.0, CUT_SHARES)
    if severity:
        yield Finding(
            "cut_answers",
            severity,
            f"{facts.cut:.0%} of the answers end at the length limit.",
            {"share": facts.cut},
            "Give answers more room (decoding.max_new_tokens): length features and ROUGE measure the limit.",
        )
    if facts.failed:
        yield Finding(
            "failed_rows",
            "warning",
            f"{facts.failed:,} rows ended with an error.",
            {"rows": facts.failed},
            "Predict these rows again.",
        )


def check_scorer(facts: Facts) -> Iterator[Finding]:
    """Language-model features by another model than the cell's own."""
    if facts.scorer and facts.model and facts.scorer != facts.model:
        yield Finding(
            "other_scorer",
            "error" if facts.published else "warning",
            f"Features of {facts.model} were scored by {facts.scorer}, so BNG, HCR, NUF and the aggregate are not "
            "on the scale of its other reports.",
            {"model": facts.model, "scorer": facts.scorer},
            "Score the features with the model's own base, or every cell with one and the same scorer.",
        )


def constant_offset(facts: Facts) -> float | None:
    """What a sequence length that is a feature without human variance adds to every bucket's BNG, if it did.

    Such a feature counts as 1 human deviation a token, so it adds L / features to each bucket alike. It is found where
    every bucket lies above that, and the lowest one little above.
    """
    values = [bucket.bng for bucket in facts.buckets if bucket.bng is not None]
    if len(values) < 2 or not facts.n_features or facts.gaps:
        return None
    for length in SEQUENCE_LENGTHS:
        offset = length / facts.n_features
        if offset <= min(values) <= 1.25 * offset:
            return offset
    return None


def check_constants(facts: Facts) -> Iterator[Finding]:
    """Run constants and other features without human variance in BNG."""
    bng, offset = facts.value("bng"), constant_offset(facts)
    if bng and offset:
        length = round(offset * facts.n_features)
        lowest = min(bucket.bng for bucket in facts.buckets if bucket.bng is not None)
        yield Finding(
            "constant_in_bng",
            "error",
            f"No bucket's BNG is below {length}/{facts.n_features} = {offset:.2f} (the lowest is {lowest:.2f}): a run "
            f"constant, the maximum sequence length, is a feature without human variance and makes {offset / bng:.0%} "
            f"of the {bng:.2f}. Without it BNG is {bng - offset:.2f}.",
            {
                "bng": bng,
                "offset": offset,
                "share": offset / bng,
                "without": bng - offset,
                "lowest_bucket": lowest,
            },
            "Subtract the constant, or take bng_robust; NUF and the aggregate have to be made again from it.",
        )
    constant = [gap for gap in facts.gaps if (gap.constant or gap.role == "run_constant") and gap.share > 0]
    share = sum(gap.share for gap in constant)
    if bng and share >= CONSTANT_SHARE:
        names = ", ".join(gap.feature for gap in constant[:3]) + (" and others" if len(constant) > 3 else "")
        yield Finding(
            "constant_in_bng",
            "error" if share >= 0.1 else "warning",
            f"Features in which the human answers do not vary at all make {share:.0%} of BNG: {names}. Without them "
            f"BNG is {bng * (1 - share):.2f}, not {bng:.2f}.",
            {"bng": bng, "share": share, "features": len(constant), "without": bng * (1 - share)},
            "Read bng_robust, which leaves them out.",
        )


def check_domination(facts: Facts) -> Iterator[Finding]:
    """One feature or one bucket that makes most of BNG, and values that no ordinary gap reaches."""
    bng = facts.value("bng")
    if bng is None:
        return
    top = max((gap for gap in facts.gaps), key=lambda gap: gap.share, default=None)
    severity = severity_of(top.share, DOMINATED_SHARES) if top else None
    if top and severity:
        yield Finding(
            "dominated_bng",
            severity,
            f"The feature {top.feature} makes {top.share:.0%} of BNG: its mean gap is {top.mean_gap:.1f} human "
            f"standard deviations. The other {len(facts.gaps) - 1} features together give {bng * (1 - top.share):.3f}.",
            {"feature": top.feature, "share": top.share, "mean_gap": top.mean_gap, "bng": bng},
            "Differences in this BNG are differences in that feature: read bng_robust and the contributions.",
        )
    residual = bng - (constant_offset(facts) or 0.0)
    severity = severity_of(residual, LARGE_BNG)
    if severity:
        total = (
            f", {residual * facts.n_features:,.0f} over all {facts.n_features}" if facts.n_features else ""
        )
        largest = sorted(facts.gaps, key=lambda gap: -gap.share)[:3]
        named = ", ".join(f"{gap.feature} ({gap.share:.0%})" for gap in largest)
        yield Finding(
            "large_bng",
            severity,
            f"BNG is {residual:.2f} human standard deviations a feature{total}. Ordinary features differ by one or "
            "two, so "
            + (
                f"some are far off: most by {named}."
                if named
                else "a few have exploded: perplexities that overflow, or features that hardly vary among humans."
            ),
            {"bng": bng, "without_constant": residual, "features": facts.n_features},
            "Do not rank by it. Look at the contributions by feature, score again in float32, read bng_robust.",
        )
    measured = [bucket for bucket in facts.buckets if bucket.bng is not None]
    if len(measured) >= 4:
        worst = max(measured, key=lambda bucket: bucket.bng)
        share = worst.bng / sum(bucket.bng for bucket in measured)
        if share >= ONE_BUCKET:
            yield Finding(
                "one_bucket",
                "warning",
                f"The bucket {worst.bucket_id} makes {share:.0%} of the macro BNG with {worst.bng:.2f}; it has "
                f"{worst.rows:,} of {sum(bucket.rows for bucket in measured):,} rows.",
                {"bucket": worst.bucket_id, "share": share, "bng": worst.bng, "rows": worst.rows},
                "Read BNG by bucket, and the mean weighted by rows.",
            )
    if facts.degenerate:
        names = sorted(facts.degenerate, key=lambda name: -facts.degenerate[name])
        yield Finding(
            "degenerate_features",
            "note",
            f"{len(names)} features hardly vary among the human answers of at least one bucket, most often {names[0]}; "
            "bng_robust leaves them out there, BNG does not.",
            {"features": len(names)},
            "Prefer bng_robust where the two tell different stories.",
        )


def check_coverage_rate(facts: Facts) -> Iterator[Finding]:
    """An HCR that cannot rank."""
    hcr, human = facts.value("hcr"), facts.ceilings.get("hcr")
    measured = [bucket.hcr for bucket in facts.buckets if bucket.hcr is not None]
    if hcr is None:
        return
    inside = facts.value("inside_rate")
    beside = f" The mean share of features inside is {inside:.2f}." if inside is not None else ""
    of_humans = (
        f" Half of the human answers reach {human:.3f} against the other half." if human is not None else ""
    )
    evidence = {"hcr": hcr, "buckets": len(measured), "inside_rate": inside, "human": human}
    advice = "Rank by hcr_calibrated (humans reach 0.9) or by the mean inside rate."
    if measured and max(measured) == 0 and hcr == 0:
        where = f"all {len(measured)} buckets" if len(measured) > 1 else "the only bucket"
        sentence = f"HCR is 0 in {where}, so it ranks nothing.{beside}{of_humans}"
        yield Finding("hcr_zero", "warning", sentence, evidence, advice)
    elif hcr < LOW_HCR:
        zero = sum(value == 0 for value in measured)
        sentence = (
            f"HCR is {hcr:.3f}, 0 in {zero} of {len(measured)} buckets: a prediction counts only with every feature "
            f"inside, which few rows decide.{beside}{of_humans}"
        )
        yield Finding("hcr_low", "note", sentence, evidence, advice)


def check_frontier(facts: Facts) -> Iterator[Finding]:
    """A frontier that is a single point."""
    if facts.frontier_points == 1:
        hypervolume = facts.value("nuf")
        of_volume = f", so its hypervolume of {hypervolume:.3f}" if hypervolume is not None else ", so it"
        yield Finding(
            "single_point_frontier",
            "warning",
            f"The utility-naturalness frontier is one bucket{of_volume} says nothing about the others.",
            {"points": 1, "nuf": hypervolume},
            "Read utility and naturalness by bucket.",
        )


def check_chinese(facts: Facts) -> Iterator[Finding]:
    """Token scores of Chinese text that split at whitespace."""
    score, exact = facts.value("qa_f1"), facts.value("qa_em")
    if facts.language != "zh" or score is None:
        return
    by_character = facts.value("char_f1")
    beside = f", exact match is {exact:.3f}" if exact is not None else ""
    if by_character is None:
        sentence = (
            f"F1 and ROUGE-L split at whitespace, where a Chinese answer is one token: F1 of {score:.3f} counts little "
            f"more than answers that agree to the letter{beside}."
        )
        advice = "Evaluate the predictions again for char_f1 and char_rouge_l_f1."
    else:
        sentence = (
            f"F1 splits at whitespace, where a Chinese answer is one token: {score:.3f}{beside}; by characters it is "
            f"{by_character:.3f}."
        )
        advice = "Read char_f1 and char_rouge_l_f1. NUF and the aggregate use the whitespace F1."
    severity = "warning" if facts.published else "note"
    evidence = {"qa_f1": score, "qa_em": exact, "char_f1": by_character}
    yield Finding("whitespace_f1", severity, sentence, evidence, advice)


def check_copies(facts: Facts) -> Iterator[Finding]:
    """Answers that are the reference to the letter more often than chance allows."""
    overall = facts.value("raw_em") or 0.0
    long = [
        bucket
        for bucket in facts.buckets
        if bucket.bucket_id.endswith(("|long", "|xlong")) and (bucket.raw_em or 0.0) >= COPIED["long"]
    ]
    if overall >= COPIED["overall"] or long:
        where = f" and {long[0].raw_em:.0%} in {long[0].bucket_id}" if long else ""
        yield Finding(
            "copies",
            "warning",
            f"{overall:.0%} of the answers equal the reference to the letter{where}: the prompts may show it, or the "
            "test rows were trained on.",
            {"raw_em": overall, "long_buckets": len(long)},
            "Look at prompts and at overlap of training and test rows.",
        )


def check_aggregate(facts: Facts) -> Iterator[Finding]:
    """An aggregate that does not follow from its components, or that lacks some."""
    found = facts.value("aggregate")
    parts = {
        "qa_f1": facts.value("qa_f1"),
        "bng_score": naturalness(facts.value("bng")),
        "mauve_global": facts.value("mauve"),
        "nuf_hypervolume": facts.value("nuf"),
    }
    if found is None or facts.components is None:
        return
    used = [parts[name] for name in facts.components if parts.get(name) is not None]
    if len(used) == len(facts.components):
        again = geometric_mean(used)
        if abs(again - found) > 1e-6 * max(1.0, abs(found)):
            yield Finding(
                "aggregate_not_reproduced",
                "error",
                f"The aggregate is {found:.4f}, its components give {again:.4f}.",
                {"aggregate": found, "recomputed": again},
                "Some component was changed afterwards, or the report mixes two runs: evaluate again.",
            )
    if len(facts.components) < len(parts):
        absent = ", ".join(name for name in parts if name not in facts.components)
        yield Finding(
            "aggregate_parts",
            "note",
            f"The aggregate has {len(facts.components)} of {len(parts)} components, without {absent}.",
            {"components": len(facts.components)},
            "Compare it with aggregates of the same components alone.",
        )


def check_strength(facts: Facts) -> Iterator[Finding]:
    """Numbers that rest on little: no intervals, few texts, small buckets, metrics that are null."""
    if facts.source == "report" and not facts.replicates:
        yield Finding(
            "no_intervals",
            "note",
            "The report has no bootstrap intervals.",
            {"replicates": 0},
            "Evaluate with --bootstrap 1000 before you compare it.",
        )
    if facts.mauve_texts is not None and facts.mauve_texts < FEW_TEXTS:
        yield Finding(
            "few_texts",
            "note",
            f"MAUVE was taken on {facts.mauve_texts} texts a side; with few texts it is noisy and biased.",
            {"texts": facts.mauve_texts},
            "Compare it with MAUVE on as many texts alone.",
        )
    measured = [bucket for bucket in facts.buckets if bucket.bng is not None]
    small = [bucket for bucket in measured if bucket.rows < FEW_ROWS]
    if small:
        counts = ", ".join(f"{bucket.bucket_id} ({bucket.rows})" for bucket in small[:3])
        yield Finding(
            "small_buckets",
            "note",
            f"{len(small)} of {len(measured)} buckets in the macro means count fewer than {FEW_ROWS} rows: {counts}.",
            {"buckets": len(small)},
            "Macro means weigh them like the largest; read the weighted means too.",
        )
    if facts.missing:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in facts.missing.items())
        yield Finding(
            "null_metrics",
            "note",
            f"Some metrics are null. {reasons}.",
            {"metrics": len(facts.missing)},
            "Give what they need, or leave them out of tables.",
        )


CHECKS = (
    check_prompt,
    check_rows,
    check_scorer,
    check_constants,
    check_domination,
    check_coverage_rate,
    check_frontier,
    check_chinese,
    check_copies,
    check_aggregate,
    check_strength,
)


def check(facts: Facts) -> list[Finding]:
    """Every finding about one report."""
    return [finding for one in CHECKS for finding in one(facts)]
