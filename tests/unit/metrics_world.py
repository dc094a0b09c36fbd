"""A small world to evaluate: records of three buckets, predictions, features and references, all made here."""

import random
from pathlib import Path

import numpy as np

from polyalign.features import table
from polyalign.features.origin import MadeBy
from polyalign.files import write_json, write_jsonl
from polyalign.metrics.evaluate import evaluate
from polyalign.records import make_record, normalize_text

WORDS = tuple(
    "river stone lamp green walks slowly under bright heavy cloud reads seven old maps near quiet harbour".split()  # noqa: SIM905
)
NAMES = ["char_count", "token_count", "distinct_1", "lm_max_seq_length", "lm_unconditional_perplexity"]


def sentence(rng: random.Random, words: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(words))


def make_records(rows: int = 90, seed: int = 0, multi: bool = True) -> list[dict]:
    """Records of a short qa, a medium assistant and (with `multi`) a short dialogue bucket."""
    rng = random.Random(seed)
    kinds = [("single", "qa", "qa_search", 6), ("single", "assistant", "assistant_like", 50)]
    kinds += [("multi", "dialogue", "open_chat", 9)] if multi else []
    records = []
    for row in range(rows):
        track, family, style, words = kinds[row % len(kinds)]
        records.append(
            make_record(
                id=f"r{row}",
                dataset=f"{style}_set",
                split="test",
                language="en",
                track=track,
                family=family,
                style_bucket=style,
                question=sentence(rng, 5),
                human_answer=sentence(rng, words + rng.randrange(5)),
                dialogue_history=[("user", "hello"), ("assistant", "yes")] if track == "multi" else (),
                meta={},
            )
        )
    return records


def predict(records: list[dict], copied: float, seed: int = 1) -> list[dict]:
    """Predictions of which a share is the human answer and the rest are other words."""
    rng = random.Random(seed)
    rows = []
    for index, record in enumerate(records):
        # Drawn for every row, so that more copies only add to fewer.
        chance, other = rng.random(), sentence(rng, rng.randrange(3, 20))
        text = record["human_answer"] if chance < copied else other
        rows.append({"source_index": index, "id": record["id"], "prediction": text, "finish_reason": "stop"})
    return rows


def features_of(texts: list[str], max_length: float = 4096.0) -> np.ndarray:
    """Float array (n, len(NAMES)) of simple features."""
    texts = [normalize_text(text) for text in texts]
    words = [text.split() for text in texts]
    return np.array(
        [
            [len(t), len(w), len(set(w)) / max(1, len(w)), max_length, 5.0 + 0.1 * len(w)]
            for t, w in zip(texts, words, strict=True)
        ]
    )


def write_features(
    path: Path, indices: list[int], records: list[dict], values: np.ndarray, *, scorer: str = "tiny"
) -> Path:
    rows = [records[index] for index in indices]
    columns = [[row[name] for row in rows] for name in ("id", "dataset", "split", "bucket_id")]
    fields = ["prediction"] * len(rows)
    made_by = MadeBy("core-v1", scorer)
    table.write_features(
        path, table.FeatureTable(np.array(indices), *columns, fields, NAMES, values, made_by)
    )
    return path


def make_references(records: list[dict], values: np.ndarray) -> dict:
    references = {}
    buckets = np.array([record["bucket_id"] for record in records])
    for bucket in np.unique(buckets):
        part = np.sort(values[buckets == bucket], axis=0)

        def band(low: float, high: float, part: np.ndarray = part) -> dict:
            a, b = (part[round((len(part) - 1) * p)] for p in (low, high))
            return {name: {"low": a[column], "high": b[column]} for column, name in enumerate(NAMES)}

        references[str(bucket)] = {
            "support_q10_q90": band(0.1, 0.9),
            "support_q25_q75": band(0.25, 0.75),
            "feature_stats": {name: {"std": part[:, c].std()} for c, name in enumerate(NAMES)},
        }
    return references


class World:
    """Files of records, human features and references in a folder, and evaluations of predictions on them."""

    def __init__(self, folder: Path, rows: int = 90, multi: bool = True, scorer: str = "tiny") -> None:
        self.folder, self.scorer = folder, scorer
        folder.mkdir(parents=True, exist_ok=True)
        self.records = make_records(rows, multi=multi)
        self.records_file = folder / "records.jsonl"
        write_jsonl(self.records_file, self.records)
        human = features_of([record["human_answer"] for record in self.records])
        self.human = write_features(
            folder / "human.parquet", list(range(rows)), self.records, human, scorer=scorer
        )
        self.references = folder / "references.json"
        write_json(self.references, make_references(self.records, human))

    def predictions(self, rows: list[dict], name: str = "predictions") -> tuple[Path, Path]:
        """Files of predictions and of their features."""
        path = self.folder / f"{name}.jsonl"
        write_jsonl(path, rows)
        features = write_features(
            self.folder / f"{name}.parquet",
            [row["source_index"] for row in rows],
            self.records,
            features_of([row["prediction"] for row in rows]),
            scorer=self.scorer,
        )
        return path, features

    def evaluate(self, rows: list[dict], name: str = "predictions", **options):
        """The report of predictions."""
        path, features = self.predictions(rows, name)
        options.setdefault("settings", {"bootstrap": 50})
        return evaluate(self.records_file, path, self.references, self.human, features, **options)

    def report(self, method: str, copied: float, *, model: str = "tiny", **options) -> Path:
        """File of a cell's report, with its replicates beside it."""
        cell = {"language": "en", "method": method, "model": model, "seed_of": options.pop("seed_of", None)}
        name = f"en_{method}_{model}"
        out = self.folder / f"{name}.json"
        rows = options.pop("rows", None) or predict(self.records, copied)
        options.setdefault("replicates_path", self.folder / f"{name}_bootstrap.parquet")
        self.evaluate(rows, f"predictions_{name}", cell=cell, **options).save(out)
        return out
