"""Every command that reads files, on a small world of good ones: what the fuzzing harms and runs."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from polyalign import cli
from polyalign.demo.sources import write_demo_source
from polyalign.files import read_jsonl, write_jsonl
from polyalign.human_eval.settings import DIMENSIONS
from tests.embedding_world import save_encoder
from tests.embedding_world import write_world as write_vectors_world
from tests.human_eval_world import scorer, write_export, write_world
from tests.judge_world import write_judge_world

ENGLISH = (
    "coqa",
    "dailydialog",
    "dolly",
    "eli5_category",
    "ms_marco",
    "multiwoz",
    "natural_questions",
    "squad_v2",
)
CHINESE = ("cmrc2018", "coig_cqia", "drcd", "oasst2_zh")


@dataclass(frozen=True)
class Command:
    """One command line and the files of the world that it reads.

    Attributes:
        name: what a failing test is called.
        arguments: the command line; `WORLD` and `OUT` in it stand for folders.
        reads: patterns of the files below the world that may be harmed.
    """

    name: str
    arguments: str
    reads: tuple[str, ...]

    def run(self, world: Path, out: Path) -> int:
        """Exit code; standard error is the caller's to capture."""
        words = [
            word.replace("WORLD", str(world)).replace("OUT", str(out)) for word in self.arguments.split()
        ]
        before, sys.argv = sys.argv, ["polyalign", *words]
        try:
            cli.main()
        except SystemExit as end:
            return int(end.code or 0)
        finally:
            sys.argv = before
        return 0


TEST = "WORLD/deduped/multiwoz/test.jsonl"
REFERENCES = "WORLD/references/bucket_references.json"

COMMANDS = (
    *(
        Command(
            f"format {name}",
            f"format {name} --source WORLD/raw/{name} --out OUT/formatted",
            (f"raw/{name}/**/*",),
        )
        for name in (*ENGLISH, *CHINESE)
    ),
    Command(
        "dedup",
        "dedup --in WORLD/formatted --out OUT/deduped --report OUT/report.json",
        ("formatted/multiwoz/*.jsonl",),
    ),
    Command("views", "views --in WORLD/deduped --out OUT/views --language en", ("deduped/multiwoz/*.jsonl",)),
    Command(
        "check-views", "check-views WORLD/views", ("views/dataset_info.json", "views/llamafactory/*.json")
    ),
    Command(
        "references",
        f"references --records {TEST} --features WORLD/test.parquet --out OUT/references --min-bucket-size 2",
        ("deduped/multiwoz/test.jsonl", "test.parquet"),
    ),
    Command(
        "critic-targets",
        f"critic-targets --records {TEST} --features WORLD/test.parquet --references {REFERENCES} --out OUT/t.jsonl",
        ("deduped/multiwoz/test.jsonl", "test.parquet", "references/bucket_references.json"),
    ),
    Command(
        "evaluate",
        f"evaluate --records {TEST} --predictions WORLD/predictions.jsonl --references {REFERENCES} "
        "--human-features WORLD/test.parquet --prediction-features WORLD/predicted.parquet --no-mauve "
        "--bootstrap 0 --threads 1 --out OUT/report.json",
        (
            "deduped/multiwoz/test.jsonl",
            "predictions.jsonl",
            "references/bucket_references.json",
            "test.parquet",
            "predicted.parquet",
        ),
    ),
    Command("tables", "tables --metrics WORLD/en_sft_tiny.json --out OUT/tables", ("en_sft_tiny.json",)),
    Command("audit", "audit WORLD/en_sft_tiny.json --out OUT/audit.md", ("en_sft_tiny.json",)),
    Command(
        "human-eval build",
        "human-eval build --records WORLD/human/records.jsonl --predictions one=WORLD/human/one.jsonl "
        "two=WORLD/human/two.jsonl --language en --out OUT/site --prompts 1",
        ("human/records.jsonl", "human/one.jsonl"),
    ),
    Command(
        "embeddings",
        "embeddings --records WORLD/vectors/records.jsonl --predictions WORLD/vectors/same.jsonl "
        "--encoder WORLD/vectors/encoder --projection pca --bootstrap 0 --out OUT/vectors",
        ("vectors/records.jsonl", "vectors/same.jsonl"),
    ),
    Command(
        "judge",
        "judge --model WORLD/judge/model --records WORLD/judge/records.jsonl --predictions "
        "WORLD/judge/predictions.jsonl --bootstrap 0 --summary OUT/summary.json --out OUT/scores.jsonl",
        ("judge/records.jsonl", "judge/predictions.jsonl"),
    ),
    Command(
        "human-eval summarize",
        "human-eval summarize WORLD/human/exports/single_a.json WORLD/human/exports/single_b.json "
        "--key WORLD/human/build/key.json --out OUT/summary --bootstrap 0",
        ("human/exports/single_a.json", "human/build/key.json"),
    ),
)


def built(world: Path, *lines: str) -> None:
    """Run command lines that must succeed."""
    for line in lines:
        assert Command("world", line, ()).run(world, world) == 0, line


def make_world(world: Path) -> Path:
    """Good files for every command."""
    os.environ["TQDM_DISABLE"] = "1"
    for name in (*ENGLISH, *CHINESE):
        write_demo_source(name, world / "raw" / name, 300 if name == "multiwoz" else 40, seed=3)
    predicted = "WORLD/predictions.jsonl"
    built(
        world,
        "format multiwoz --source WORLD/raw/multiwoz --out WORLD/formatted/multiwoz",
        "dedup --in WORLD/formatted --out WORLD/deduped --report WORLD/report.json",
        "views --in WORLD/deduped --out WORLD/views --language en",
        f"features --records {TEST} --out WORLD/test.parquet --set core-v1",
        f"references --records {TEST} --features WORLD/test.parquet --out WORLD/references --min-bucket-size 2",
    )
    records = [record for _, record in read_jsonl(world / "deduped/multiwoz/test.jsonl")]
    rows = [
        {"source_index": row, "id": record["id"], "prediction": record["human_answer"][:40]}
        for row, record in enumerate(records)
    ]
    write_jsonl(world / "predictions.jsonl", rows)
    built(
        world,
        f"features --records {TEST} --predictions {predicted} --out WORLD/predicted.parquet --set core-v1",
        f"evaluate --records {TEST} --predictions {predicted} --references {REFERENCES} --human-features "
        "WORLD/test.parquet --prediction-features WORLD/predicted.parquet --no-mauve --bootstrap 0 --threads 1 "
        "--out WORLD/en_sft_tiny.json",
    )
    write_vectors_world(world / "vectors", rows=20)
    save_encoder(world / "vectors/encoder")
    write_judge_world(world / "judge")
    (world / "human").mkdir()
    write_world(world / "human", ("one", "two"), rows=1)
    built(
        world,
        "human-eval build --records WORLD/human/records.jsonl --predictions one=WORLD/human/one.jsonl "
        "two=WORLD/human/two.jsonl --language en --out WORLD/human/build --prompts 1",
    )
    for number, annotator in enumerate(("a", "b")):
        answer = scorer({"one": 2, "two": 4}, DIMENSIONS, 0.5, number)
        write_export(world / "human/exports", world / "human/build/key.json", "single", annotator, answer)
    return world
