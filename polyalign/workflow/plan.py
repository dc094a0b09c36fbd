"""What Snakemake would do, read from its dry-run: jobs, why each is due, and what each is expected to cost.

The package never imports Snakemake; the dry-run is a subprocess and its text is parsed. A text that does not
add up (fewer jobs than the dry-run counts) is an error, never an empty plan.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from polyalign.errors import PolyAlignError
from polyalign.files import StrPath

_JOB = re.compile(r"^(?:local)?(?:rule|checkpoint) (\w+):$")
_FIELD = re.compile(r"^    (\w+): (.*)$")
_COUNT = re.compile(r"^total +(\d+)$", re.MULTILINE)
# Parameters that are digests, by what they are digests of (`polyalign.digest`).
_DIGESTS = {
    "code": re.compile(r"[0-9a-f]{16}"),
    "environment": re.compile(r"[\w.-]+ environment [0-9a-f]{16}"),
}
_PARAMS = re.compile(r"before: (?P<before>.*?) now: (?P<now>.*?) *$", re.DOTALL)
# A parameter's value may hold "; " itself.
_NEXT_REASON = re.compile(
    r"; (?=(?:Missing|Incomplete) output files|Updated input files|Input files updated|Set of input|Code has"
    r"|Params have|Software environment)"
)
DERIVED = "Input files updated by another job"
# A dry-run makes many objects that stay to its end; looking through them for cycles is a tenth of its time.
_SNAKEMAKE = "import gc; gc.disable(); from snakemake.cli import main; main()"

# Wall hours of the jobs of a rule at paper scale on one GPU, its shards together; guesses, until benchmarks of earlier
# runs replace them.
GUESSED_HOURS = {
    "score_human_features": 4.0,
    "score_all_human_features": 12.0,
    "score_prediction_features": 0.7,
    "score_pair_features": 1.4,
    "score_language_features": 17.0,
    "train_sft": 12.0,
    "train_bucketsft": 12.0,
    "train_dpo": 18.0,
    "train_hdpo": 20.0,
    "train_critic": 1.5,
    "score_pairs": 0.5,
    "generate_predictions": 3.0,
    "generate_shard": 3.0,
    "generate_pair_answers": 6.0,
    "generate_language": 72.0,
    "detect_texts": 1.0,
    "detect_human_texts": 1.0,
    "detect_language": 100.0,
    "embed_texts": 0.1,
    "embed_human_texts": 0.1,
    "embed_language": 2.5,
    "judge_predictions": 3.0,
    "judge_shard": 3.0,
    "judge_language": 216.0,
}


@dataclass(frozen=True)
class Job:
    """One job of a plan."""

    rule: str
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    benchmark: str | None = None
    reasons: tuple[str, ...] = ()
    wildcards: Mapping[str, str] = field(default_factory=dict)
    gpus: int = 0

    @property
    def name(self) -> str:
        """Rule and wildcard values, e.g. `train_sft en llama3b`."""
        return " ".join([self.rule, *self.wildcards.values()])

    @property
    def shards(self) -> int:
        """How many jobs its work is divided among, as Snakemake's scattered items say: `3-of-8`."""
        return int(self.wildcards.get("scatteritem", "1-of-1").split("-of-")[1])

    @property
    def own_reasons(self) -> tuple[str, ...]:
        """Reasons that do not come from another job of the plan."""
        return tuple(reason for reason in self.reasons if not reason.startswith(DERIVED))


def _split(text: str) -> tuple[str, ...]:
    return tuple(filter(None, text.split(", ")))


def _pairs(text: str) -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in _split(text) if "=" in pair)


def _job(rule: str, fields: Mapping[str, str]) -> Job:
    resources = _pairs(fields.get("resources", ""))
    gpus = resources.get("gpu", "0")
    return Job(
        rule=rule,
        inputs=_split(fields.get("input", "")),
        outputs=_split(fields.get("output", "")),
        benchmark=fields.get("benchmark"),
        reasons=tuple(_NEXT_REASON.split(fields["reason"])) if fields.get("reason") else (),
        wildcards=_pairs(fields.get("wildcards", "")),
        gpus=int(gpus) if gpus.isdigit() else 0,
    )


def parse_plan(text: str) -> list[Job]:
    """Jobs of a dry-run's text, in the order printed.

    Raises:
        PolyAlignError: the text holds fewer or more jobs than it says.
    """
    jobs: list[Job] = []
    rule: str | None = None
    fields: dict[str, str] = {}
    for line in [*text.splitlines(), ""]:
        if match := _JOB.match(line):
            if rule:
                jobs.append(_job(rule, fields))
            rule, fields = match.group(1), {}
        elif rule and (match := _FIELD.match(line)):
            fields[match.group(1)] = match.group(2)
        elif rule and not line.startswith("    "):
            jobs.append(_job(rule, fields))
            rule = None
    counts = _COUNT.findall(text)
    expected = int(counts[0]) if counts else 0
    if len(jobs) != expected:
        raise PolyAlignError(
            f"the dry-run counts {expected} jobs, {len(jobs)} were read from it; "
            "its text has another form than that of Snakemake 9: please report it with your version"
        )
    return jobs


def plan(
    targets: Sequence[str], *, root: StrPath, directory: StrPath, configfiles: Sequence[StrPath] = ()
) -> list[Job]:
    """Ask Snakemake which jobs the targets need, and why; nothing is run and nothing is locked.

    Args:
        root: folder of the Snakefile.
        directory: working directory of the workflow.
        configfiles: files merged over config/config.yaml, in order.

    Raises:
        PolyAlignError: Snakemake is not installed or refuses the configuration; its own lines are repeated.
    """
    command = [sys.executable, "-c", _SNAKEMAKE, "--dry-run", "--nolock", "--cores", "1"]
    command += ["--snakefile", str(Path(root) / "Snakefile"), "--directory", str(directory)]
    # Triggers come from profiles/default, as in every run started in the checkout.
    if configfiles:
        command += ["--configfile", *map(str, configfiles)]
    done = subprocess.run([*command, "--", *targets], cwd=root, text=True, capture_output=True, check=False)
    text = done.stdout + done.stderr
    if done.returncode != 0:
        raise PolyAlignError(f"snakemake --dry-run failed: {text.strip()[-2000:]}")
    return parse_plan(text)


def _literals(text: str) -> list[object] | None:
    """Values of a list of parameters as Snakemake prints it; None where it is cut or no list of literals."""
    if text == "<nothing exclusive>":
        return []
    try:
        return list(ast.literal_eval(f"[{text}]"))
    except (SyntaxError, ValueError):
        return None


def _changed_keys(before: object, now: object, prefix: str = "") -> list[str]:
    """Dotted keys under which two parameter values differ, with both values where they are short."""
    if isinstance(before, dict) and isinstance(now, dict):
        keys = sorted(set(before) | set(now))
        return [
            found
            for key in keys
            if before.get(key) != now.get(key)
            for found in _changed_keys(
                before.get(key), now.get(key), f"{prefix}.{key}" if prefix else str(key)
            )
        ]
    values = f"{before!r} -> {now!r}"
    return [f"{prefix} {values}".strip() if len(values) <= 60 else prefix or "a long value"]


def explain(reason: str) -> str:
    """A reason of Snakemake in few words: what changed, and for parameters which key."""
    kind, _, rest = reason.partition(": ")
    if kind == "Missing output files":
        return "not built"
    if kind == "Incomplete output files":
        return "interrupted"
    if kind == "Updated input files":
        return f"input changed: {rest}"
    if kind == "Params have changed since last execution" and (match := _PARAMS.search(rest)):
        before, now = _literals(match["before"]), _literals(match["now"])
        if before is None or now is None:
            return "parameters changed"
        parts = []
        for what, pattern in _DIGESTS.items():
            found = [value for value in before + now if isinstance(value, str) and pattern.fullmatch(value)]
            parts += [f"{what} changed"] if found else []
            before = [value for value in before if value not in found]
            now = [value for value in now if value not in found]
        if len(before) == len(now) == 1:
            parts.append("parameter changed: " + ", ".join(_changed_keys(before[0], now[0])))
        elif before or now:
            parts.append("parameters changed")
        return " and ".join(parts)
    return kind[:1].lower() + kind[1:]


def ancestors(jobs: Sequence[Job], artifact: str) -> list[Job]:
    """Jobs of the plan that `artifact` waits for, its own included, producers before their consumers."""
    producer = {output: job for job in jobs for output in job.outputs}
    order: list[Job] = []
    seen: set[str] = set()

    def visit(name: str) -> None:
        job = producer.get(name)
        if job is None or job.outputs[0] in seen:
            return
        seen.add(job.outputs[0])
        for source in job.inputs:
            visit(source)
        order.append(job)

    visit(artifact)
    return order
