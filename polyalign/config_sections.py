"""Sections of the configuration that belong to no stage's own settings: grid, sources, data, features, pairs ..."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from polyalign.data.shingles import NearDuplicates
from polyalign.inference.engine import EngineSettings
from polyalign.methods import METHODS
from polyalign.metrics.settings import MetricSettings
from polyalign.released import Place
from polyalign.settings import Settings

Language = Literal["en", "zh"]
Method = Literal[*METHODS]
ViewSplit = Literal["train", "val", "test"]
Positive = Annotated[int, Field(gt=0)]


class Grid(Settings):
    """Which cells `snakemake tables` builds: every language x method x model."""

    languages: list[Language] = Field(["en", "zh"], description="languages of the tables")
    methods: list[Method] = Field(
        ["base", "cot", "sft", "bucketsft", "dpo", "hdpo"], description="methods, in table order"
    )
    models: list[str] = Field(
        ["qwen1.5b", "gemma2b", "qwen3b", "llama3b"], description="keys of `models`, in table order"
    )


class DemoSources(Settings):
    """Size and seed of the generated stand-in corpora."""

    rows: Positive = Field(400, description="records a corpus, about")
    seed: int = Field(7, description="seed of the generated text")


class Sources(Settings):
    """Where raw corpora come from."""

    kind: Literal["hub", "mirror", "demo"] = Field(
        "hub", description="hub: download; mirror: a local folder in official layout; demo: generated text"
    )
    mirror: str | None = Field(
        None,
        description="folder of raw files, one folder a corpus, from the checkout; giving it means kind mirror",
    )
    registry: str = Field("config/sources.yaml", description="corpus registry: files, revisions, licences")
    demo: DemoSources = Field(DemoSources(), description="generated corpora")


class Data(Settings):
    """Formatting of the corpora."""

    seed: int = Field(42, description="seed of the hashed splits")
    token_rule: Literal["neutral", "published"] = Field(
        "neutral", description="how answer tokens are counted for length bins"
    )
    published_quirks: bool = Field(False, description="reproduce known bugs of the published formatters")
    include_validation2: bool = Field(
        False, description="merge and export ELI5's auxiliary split as well, apart from val and test"
    )
    near_duplicates: NearDuplicates = Field(
        NearDuplicates(),
        description="records that differ in a few words, reported apart from exact duplicates",
    )


class LmFeatures(Settings):
    """Scoring of answers under the model family's base model."""

    max_length: Positive = Field(4096, description="tokens of start, prefix and answer together")
    truncation: Literal["prompt_first", "published"] = Field(
        "prompt_first", description="what is dropped of an over-long pair; published drops the answer's start"
    )
    batch_tokens: Positive = Field(16384, description="padded tokens a batch")
    dtype: Literal["float32", "bfloat16", "float16"] = Field("bfloat16", description="weights' precision")


class Features(Settings):
    """Answer features."""

    set: Literal["paper-v1", "core-v1"] = Field(
        "paper-v1", description="core-v1 needs no downloaded data; the two are never compared"
    )
    nltk_mirror: str | None = Field(
        None,
        description="folder of NLTK data to copy from, seen from the checkout; null: NLTK's own folders, then download",
    )
    job: Literal["cell", "language"] = Field(
        "cell",
        description="work of one job that scores: a split or a cell, or all splits, and all cells, of a language, for "
        "scorers that take longer to load than to run",
    )
    shards: Positive = Field(
        1,
        description="jobs that the features of a split, and of a cell's predictions, are divided into, where job is "
        "cell",
    )
    lm: LmFeatures = Field(LmFeatures(), description="language-model features")


class References(Settings):
    """Bucket reference distributions."""

    min_bucket_size: Positive = Field(20, description="smaller buckets are listed, not used")
    splits: list[ViewSplit] = Field(
        ["train", "val", "test"], description="human answers that make the references"
    )
    support: Literal["q10_q90", "q25_q75"] = Field("q10_q90", description="support of the critic target")


class PairRows(Settings):
    """How many rows of a split get a model answer; null means all."""

    train: Positive | None = Field(None, description="rows of train")
    val: Positive | None = Field(None, description="rows of val")


class Pairs(Settings):
    """Human-versus-model pairs."""

    rows: PairRows = Field(PairRows(), description="seeded, bucket-stratified subset that gets model answers")
    seed: int = Field(42, description="seed of the draw")


class Recipes(Settings):
    """The recipe (a file of config/recipes, without .yaml) that trains each method."""

    sft: str = Field("sft", description="recipe of sft")
    bucketsft: str = Field("bucketsft", description="recipe of bucketsft")
    dpo: str = Field("dpo", description="recipe of dpo")
    hdpo: str = Field("hdpo", description="recipe of hdpo")
    critic: str = Field("critic", description="recipe of the critic")


class Inference(EngineSettings):
    """The engine that answers prompts."""

    job: Literal["cell", "language"] = Field(
        "cell",
        description="work of one job on the test split: a cell, or all cells of a language, for small models in the "
        "transformers engine",
    )
    shards: Positive = Field(
        1,
        description="jobs that share the rows of a split, where job is cell; each needs a model's memory and start-up",
    )


class Metrics(MetricSettings):
    """Evaluation of the predictions."""

    job: Literal["cell", "language"] = Field(
        "cell",
        description="work of one job: a cell, or all cells of a language, for reports that take longer to start than "
        "to make",
    )

    def settings(self) -> dict[str, Any]:
        """What a report depends on, as plain values; the number of jobs is left out."""
        return self.model_dump(exclude={"job"})


class Tables(Settings):
    """Tables and figures."""

    compare: dict[str, str] = Field(
        {},
        description="other runs for the ablation tables: {label: working directory, from the checkout}",
    )


class ReleasedRecords(Settings):
    """Released records of a language, JSONL in the published layout; a split without any does not exist."""

    train: Place | None = Field(None, description="rows that models are trained on")
    val: Place | None = Field(None, description="rows that training is watched on")
    test: Place | None = Field(None, description="rows that released predictions index")

    @model_validator(mode="after")
    def _are_files(self) -> "ReleasedRecords":
        for split in self.splits:
            getattr(self, split).check_file()
        return self

    @property
    def splits(self) -> list[str]:
        """Names of the splits that there are."""
        return [name for name in ("train", "val", "test") if getattr(self, name) is not None]
