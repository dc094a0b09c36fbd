"""The evaluation report: one typed, versioned schema under the published key names, ours beside them.

A metric that does not apply is null and says why in its `reason`. Reading a report of another version, or one that
is no report at all, is an error in one line.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from polyalign.errors import BadInput
from polyalign.files import StrPath, read_json, write_json

SCHEMA_VERSION = 2
KIND = "polyalign-evaluation"

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Point = dict[str, float | str | None]


class Part(BaseModel):
    """A part of the report: unknown keys and NaN are errors."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Cell(Part):
    """Which cell of the grid was evaluated."""

    language: str
    method: str
    model: str
    seed_of: str | None = Field(
        None, description="the model that this one is, trained and sampled with another seed"
    )

    @property
    def name(self) -> str:
        return f"{self.language}_{self.method}_{self.model}"


class InputFile(Part):
    """A file the numbers were made from."""

    path: str
    sha256: str


class Source(Part):
    """Where the predictions come from."""

    kind: Literal["train", "checkpoint", "predictions"] = Field(
        description="train: made here from the start; checkpoint: made here by a released model; predictions: released"
    )
    hub: str | None = None
    revision: str | None = None
    commit: str | None = None
    path: str | None = Field(None, description="local file or folder, without the folders above it")
    file: str | None = Field(None, description="file in the hub repository")
    sha256: str | None = Field(
        None, description="digest of the released file, or of a checkpoint's list of files"
    )


class BucketCoverage(Part):
    """Coverage of one bucket."""

    bucket_id: str
    rows_expected: Count
    answered: Count
    empty_predictions: Count
    length_share: Share | None = Field(description="share of finish_reason=length; null where none is stated")


class Coverage(Part):
    """Which rows were answered, and how the answers ended."""

    rows_expected: Count
    answered: Count
    missing: Count
    empty_predictions: Count
    length_share: Share | None
    error_rows: Count = Field(description="rows with finish_reason=error")
    finish_reasons: dict[str, Count]
    records: Count = Field(description="records of the split, of which rows_expected were to be evaluated")
    common_with: list[InputFile] = Field(
        description="other predictions; rows that they do not all answer were left out"
    )
    source_index_digest: str = Field(description="digest of the answered rows: source_index and id of each")
    by_bucket: list[BucketCoverage]


class FeatureInfo(Part):
    """The features that BNG and HCR were taken on."""

    feature_set: str
    scorer: str | None
    n_features: Count
    names: list[str]
    backends: dict[str, Any]
    scorer_digest: str | None = None


class UtilityScores(Part):
    """Mean scores of a group of rows."""

    raw_em: Share
    qa_em: Share
    qa_f1: Share
    rouge_l_f1: Share
    char_f1: Share
    char_rouge_l_f1: Share


class BucketUtility(UtilityScores):
    bucket_id: str
    n_examples: Count


class DatasetUtility(UtilityScores):
    dataset: str
    n_examples: Count


class Utility(Part):
    """Utility against the human answers."""

    overall: UtilityScores
    by_bucket: list[BucketUtility]
    by_dataset: list[DatasetUtility]


class DiversityScores(Part):
    """Diversity of a group of texts."""

    distinct_1: Share
    distinct_2: Share
    distinct_3: Share
    self_bleu_4: Annotated[float, Field(ge=0, le=1 + 1e-9)]


class DiversityPair(Part):
    """Diversity of human and generated answers to the same rows."""

    human: DiversityScores
    generated: DiversityScores


class BucketDiversity(DiversityPair):
    bucket_id: str


class Diversity(Part):
    """Diversity, overall and by bucket."""

    overall: DiversityPair
    by_bucket: list[BucketDiversity]


class BucketBng(Part):
    bucket_id: str
    n_examples: Count
    n_features: Count
    bng: float


class Contribution(Part):
    """What one feature adds to the macro BNG."""

    feature: str
    mean_gap: float
    share: float
    zero_variance_buckets: Count


class Bng(Part):
    """Bucket naturalness gap; smaller is better."""

    overall_macro: float | None = None
    overall_weighted: float | None = None
    by_bucket: list[BucketBng] = []
    contributions: list[Contribution] = []
    degenerate_features: dict[str, list[str]] = Field(
        {},
        description="robust variant: response features left out of a bucket since humans do not vary in them",
    )
    not_response_features: list[str] = Field([], description="robust variant: features left out everywhere")
    reason: str | None = None


class BucketHcr(Part):
    bucket_id: str
    n_examples: Count
    n_features: Count
    hcr: Share
    mean_feature_inside_rate: Share | None = None
    threshold: float | None = Field(None, description="calibrated variant: the human 90th percentile")


class Hcr(Part):
    """Human coverage rate; larger is better."""

    support_region: str
    overall_macro: Share | None = None
    overall_weighted: Share | None = None
    mean_feature_inside_rate: Share | None = Field(
        None, description="share of features inside the support, mean over buckets"
    )
    by_bucket: list[BucketHcr] = []
    reason: str | None = None


class HcrPair(Part):
    support_q10_q90: Hcr
    support_q25_q75: Hcr


class BucketMauve(Part):
    bucket_id: str
    n_examples: Count
    c_mauve: float


class Mauve(Part):
    """MAUVE; larger is better."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, populate_by_name=True)

    global_: float | None = Field(None, alias="global")
    overall_macro: float | None = None
    overall_weighted: float | None = None
    by_bucket: list[BucketMauve] = []
    skipped: bool = True
    reason: str | None = None
    featurizer: str | None = None
    n_texts: Count | None = None


class BucketTdm(Part):
    bucket_id: str
    n_examples: Count
    length_ratio_similarity: Share
    lexical_accommodation_similarity: Share
    semantic_coupling_similarity: Share
    latent_transition_similarity: Share
    tdm: Share


class Tdm(Part):
    """Turn dynamics match of multi-turn rows; larger is better."""

    overall_macro: Share | None
    by_bucket: list[BucketTdm]
    method: str
    reason: str | None


class IndexFrontier(Part):
    """The published frontier over an index by principal components."""

    frontier_auc: float | None
    loadings: dict[str, float] | None
    frontier_points: list[Point]
    by_bucket: list[Point]
    reason: str | None


class FixedFrontier(Part):
    """The frontier on fixed scales."""

    normalization: str
    utility_axis: str
    naturalness_components: list[str]
    normalized_component_columns: list[str]
    reference_point: dict[str, float]
    frontier_auc: float | None
    hypervolume: float | None
    frontier_points: list[Point]
    by_bucket: list[Point]
    reason: str | None


class MultiTurnFrontier(FixedFrontier):
    legacy_frontier_auc: float | None
    legacy_loadings: dict[str, float] | None
    legacy_frontier_points: list[Point]
    legacy_by_bucket: list[Point]


class Nuf(Part):
    """Naturalness-utility frontiers."""

    core: IndexFrontier
    overall: FixedFrontier
    multi_turn: MultiTurnFrontier


class Aggregate(Part):
    """Geometric mean of up to four components."""

    overall: float | None
    method: str
    raw_metrics: dict[str, float | None]
    components: dict[str, float | None]
    component_count: Count
    reason: str | None


class BucketLengths(Part):
    bucket_id: str
    human: float
    generated: float


class Lengths(Part):
    """Mean answer lengths: tokens of the record rule, human and generated, over the answered rows."""

    human: float
    generated: float
    by_bucket: list[BucketLengths] = []


class Ceiling(Part):
    """One half of the human answers against the other half, in every metric that tables show."""

    values: dict[str, float | None]
    reasons: dict[str, str] = Field(description="why a value is null")
    prompts: Count = Field(description="prompts with two human answers, which the utility is taken on")


class Metrics(Part):
    """Every metric."""

    utility: Utility
    diversity: Diversity
    bng: Bng
    bng_robust: Bng
    hcr: Hcr
    hcr_q25_q75: Hcr
    hcr_calibrated: Hcr
    hcr_of_human_rows: HcrPair
    mauve: Mauve
    tdm: Tdm
    nuf: Nuf
    aggregate: Aggregate
    mean_tokens: Lengths
    human_ceiling: Ceiling


class IntervalRow(Part):
    """A bootstrap interval of one metric."""

    estimate: float
    low: float
    high: float
    method: Literal["percentile", "percentile_recentred"]


class Intervals(Part):
    """Bootstrap intervals, drawn in common with every cell of the same rows and seed."""

    replicates: Count
    confidence: Share
    seed: int
    metrics: dict[str, IntervalRow]
    draws_digest: str | None = Field(description="equal digests: the replicates of two cells are paired")
    reason: str | None = None


class Report(Part):
    """The evaluation of one set of predictions."""

    kind: Literal["polyalign-evaluation"] = KIND
    schema_version: Literal[2] = SCHEMA_VERSION
    cell: Cell | None
    split: str | None = Field(description="split of the records when they are of one split")
    languages: list[str]
    source: Source | None = Field(None, description="null where the predictions are of no cell of a workflow")
    prompt_mode: str | None
    oracle: bool = Field(description="the prompt showed the reference answer: no method, a ceiling")
    decoding: dict[str, Any] | None
    engine: dict[str, Any] | None = None
    seed: int | None = Field(None, description="seed of the run, where several runs of a cell are told apart")
    coverage: Coverage
    features: FeatureInfo | None
    metrics: Metrics
    intervals: Intervals
    inputs: dict[str, InputFile]
    parameters: dict[str, Any]
    versions: dict[str, str]

    def save(self, path: StrPath) -> None:
        """Write strict JSON, atomically."""
        write_json(path, self.model_dump(mode="json", by_alias=True))


def read_report(path: StrPath) -> Report:
    """Read a report.

    Raises:
        BadInput: no report, another schema version, or a value of the wrong type, naming the field.
    """
    value = read_json(path)
    fix = "evaluate the predictions again with this version"
    if not isinstance(value, dict) or value.get("kind") != KIND:
        raise BadInput("not an evaluation report", file=path, field="kind", expected=repr(KIND), fix=fix)
    version = value.get("schema_version")
    if version != SCHEMA_VERSION:
        raise BadInput(
            f"schema version {version!r}",
            file=path,
            field="schema_version",
            expected=str(SCHEMA_VERSION),
            fix=fix,
        )
    try:
        return Report.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise BadInput(first["msg"], file=path, field=field, fix=fix) from None
