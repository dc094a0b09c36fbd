"""The configuration: every key typed, defaults as in the paper, mistakes told in one line with the fix.

config/config.yaml states the paper; a further file given with `--configfile` is merged over it by Snakemake.
Rules read values from a `Config` and hand them to scripts through params; no stage takes the object itself.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field, model_validator

from polyalign.base_models import Model, RecipeOverrides, SeededModel, Seeds, with_seeds
from polyalign.config_sections import (
    Data,
    Features,
    Grid,
    Inference,
    Language,
    Metrics,
    Pairs,
    Recipes,
    References,
    ReleasedRecords,
    Sources,
    Tables,
)
from polyalign.detection.settings import Detection, check_detection
from polyalign.embeddings.settings import Embeddings, check_embeddings
from polyalign.errors import BadInput
from polyalign.files import StrPath
from polyalign.human_eval.settings import HumanEvalSettings
from polyalign.inference.decoding import Decoding, paper_decoding
from polyalign.inference.engine import EngineSettings
from polyalign.judge.settings import Judges, check_judges
from polyalign.methods import METHODS, ORACLE_METHODS, TRAINED_METHODS
from polyalign.released import CellSource, Place, looks_oracle
from polyalign.settings import Settings, merge, nearest, read_settings, read_yaml
from polyalign.workflow.plan import GUESSED_HOURS

Stage = Literal["data", "eval", "features", "infer", "report", "train"]
MODEL_KEY = re.compile(r"[A-Za-z0-9.-]+")


class Config(Settings):
    """The whole configuration."""

    seed: int = Field(42, description="seed of training, sampling and metrics, unless stated apart")
    seeds: Seeds = Field(
        [42],
        description="seeds that each cell is trained and sampled with: the first is `seed`; a further one, 43 say, "
        "makes cells named {lang}_{method}_{model}-s43",
    )
    gpus: int = Field(1, ge=0, description="GPUs of a training, scoring or inference job; 0 runs on CPU")
    accelerator: Literal["cuda", "rocm"] = Field(
        "cuda",
        description="kind of GPU: cuda for NVIDIA, rocm for AMD; chooses the environments of the stages",
    )
    grid: Grid = Field(Grid(), description="cells of the tables")
    corpora: dict[Language, list[str]] = Field(description="corpora of each language, in order")
    sources: Sources = Field(Sources(), description="raw corpora")
    data: Data = Field(Data(), description="formatting")
    features: Features = Field(Features(), description="answer features")
    references: References = Field(References(), description="bucket references")
    models: dict[str, Model] = Field(description="base models by the key used in file names")
    pairs: Pairs = Field(Pairs(), description="human-versus-model pairs")
    recipes: Recipes = Field(Recipes(), description="recipe of each trained method")
    recipe_overrides: RecipeOverrides = Field(RecipeOverrides(), description="changes to recipes")
    inference: Inference = Field(Inference(), description="inference engine")
    environments: dict[Stage, str] = Field(
        {},
        description="without conda: virtual environment of a stage's rules, a folder seen from the checkout",
    )
    decoding: Decoding = Field(Decoding(), description="decoding, the same for every method")
    published_decoding: bool = Field(False, description="decode each method as published instead")
    metrics: Metrics = Field(Metrics(), description="evaluation")
    human_eval: HumanEvalSettings = Field(HumanEvalSettings(), description="blind human evaluation")
    detectors: Detection = Field(Detection(), description="detectors of machine text")
    embeddings: Embeddings = Field(Embeddings(), description="human and model answers as vectors")
    judges: Judges = Field(Judges(), description="language models that judge answers by a rubric")
    hours: dict[str, float] = Field(
        GUESSED_HOURS,
        description="wall hours of a rule's job, its shards together, that `status` assumes without benchmarks",
    )
    tables: Tables = Field(Tables(), description="tables and figures")
    cells: dict[str, CellSource] = Field(
        {}, description="cells that are not made here from the start, by name: {lang}_{method}_{model}"
    )
    released_records: dict[Language, ReleasedRecords] = Field(
        {}, description="released records that are the splits of a language, instead of its corpora"
    )
    released_mirror: str | None = Field(
        None,
        description="folder with copies of hub repositories, {owner}/{name}/..., that released artifacts are read "
        "from instead of the hub; a relative one is meant from the checkout",
    )

    @model_validator(mode="after")
    def _names_are_known(self) -> "Config":
        for name in self.models:
            if not MODEL_KEY.fullmatch(name):
                raise ValueError(f"models.{name}: a model key is made of letters, digits, '.' and '-'")
        for part in ("grid", "human_eval"):
            for name in getattr(self, part).models:
                if name not in self.models:
                    raise ValueError(f"{part}.models: no model {name!r}; {nearest(name, list(self.models))}")
        for key, model in self.models.items():
            if model.scorer is not None and model.scorer not in self.models:
                known = nearest(model.scorer, list(self.models))
                raise ValueError(f"models.{key}.scorer: no model {model.scorer!r}; {known}")
        check_detection(self.detectors, self.models, self.grid.models)
        check_embeddings(self.embeddings, self.models, self.grid.models)
        check_judges(self.judges, self.models)
        mauve = self.metrics.mauve.model
        if mauve is not None and mauve not in self.models:
            raise ValueError(f"metrics.mauve.model: no model {mauve!r}; {nearest(mauve, list(self.models))}")
        for name in self.grid.models:
            if self.models[name].chat_template is None:
                raise ValueError(f"models.{name}.chat_template: a model of the grid needs one")
        for language in self.grid.languages:
            if not self.corpora.get(language):
                raise ValueError(f"corpora.{language}: no corpora for a language of grid.languages")
        if any(method in ORACLE_METHODS for method in self.grid.methods):
            raise ValueError(
                "grid.methods: hdporef sees the reference answer and stands in no table of methods; "
                "ask for results/metrics/{lang}_hdporef_{model}.json by name"
            )
        if self.sources.kind == "mirror" and not self.sources.mirror:
            raise ValueError("sources.mirror: kind is mirror but no folder is given")
        return self

    @model_validator(mode="after")
    def _jobs_of_a_language_can_be_made(self) -> "Config":
        for name in ("features", "inference"):
            part = getattr(self, name)
            if part.job == "language" and part.shards > 1:
                raise ValueError(
                    f"{name}.shards: job `language` is one job; set {name}.job to cell, or leave shards at 1"
                )
        if self.inference.job == "language" and self.inference.engine != "transformers":
            raise ValueError(
                "inference.job: one job for a language's models takes the engine transformers, which lets go of each; "
                "set inference.job to cell"
            )
        if self.inference.job == "language" and self.cells_from("predictions"):
            raise ValueError(
                "inference.job: a job for all cells of a language would answer for those with released predictions, "
                "too; set inference.job to cell"
            )
        return self

    @model_validator(mode="after")
    def _cells_can_be_made(self) -> "Config":
        for name, cell in self.cells.items():
            try:
                _, method, _ = parse_cell(name, self)
            except BadInput as error:
                raise ValueError(f"cells.{name}: {error}") from None
            _check_cell_source(name, method, cell)
        for language in self.grid.languages:
            released = self.released_records.get(language)
            missing = (
                [] if released is None else [s for s in self.references.splits if s not in released.splits]
            )
            if missing:
                raise ValueError(
                    f"references.splits: no {missing[0]} among the released_records of {language}; "
                    f"list {', '.join(released.splits)} only, or give its records too"
                )
            for model in self.grid.models:
                for method in self.grid.methods:
                    self.check_cell(language, method, model)
        return self

    def check_cell(self, language: str, method: str, model: str) -> None:
        """Raise ValueError where a cell needs a model or rows that the configuration leaves out."""
        cell = f"{language}_{method}_{model}"
        if self.source_of(language, method, model) != "train":
            return
        for parent in METHODS[method].made_from:
            if self.source_of(language, parent, model) == "predictions":
                raise ValueError(
                    f"cells.{language}_{parent}_{model}: source predictions gives no model, and {cell} is made from "
                    f"it; give {cell} another source, or {language}_{parent}_{model} a checkpoint"
                )
            self.check_cell(language, parent, model)
        released = self.released_records.get(language)
        lacks = [] if released is None else [name for name in ("train", "val") if name not in released.splits]
        if method in TRAINED_METHODS and lacks:
            raise ValueError(
                f"released_records.{language}: no {lacks[0]} split to train {cell} on; give its records, or "
                f"{cell} another source"
            )

    def grid_cells(self, languages: Sequence[str] | None = None) -> list[tuple[str, str, str]]:
        """(language, method, model) of every cell of the grid in table order; further seeds follow their model."""
        cells = []
        for language in languages or self.grid.languages:
            for model in self.grid.models:
                further = [name for name in self.models if self.original_of(name) == model != name]
                names = [model, *further]
                cells += [
                    (language, method, name)
                    for name in names
                    for method in self.grid.methods
                    if name == model or self.is_seeded(language, method, model)
                ]
        return list(dict.fromkeys(cells))

    def is_seeded(self, language: str, method: str, model: str) -> bool:
        """Whether another seed can change a cell: not with released predictions, nor where nothing is drawn."""
        source = self.source_of(language, method, model)
        trained = method in TRAINED_METHODS and source == "train"
        return source != "predictions" and (trained or not self.decoding_of(method).greedy)

    def original_of(self, model: str) -> str:
        """The model whose further seed `model` is, else itself."""
        found = self.models[model]
        return found.seed_of if isinstance(found, SeededModel) else model

    def further_seed(self, model: str) -> int | None:
        """The seed of a model that stands for a further seed; None for all others."""
        found = self.models[model]
        return found.seed if isinstance(found, SeededModel) else None

    def source_of(self, language: str, method: str, model: str) -> str:
        """Where a cell comes from: train, checkpoint or predictions."""
        cell = self.cells.get(f"{language}_{method}_{model}")
        return "train" if cell is None else cell.source

    def cells_from(self, source: str) -> list[str]:
        """Names of the cells of one source other than train."""
        return [name for name, cell in self.cells.items() if cell.source == source]

    def released_files(self) -> dict[str, Place]:
        """Places of the released files in use: predictions by cell, records as {lang}_records_{split}."""
        places = {cell: self.cells[cell].predictions for cell in self.cells_from("predictions")}
        for language, records in self.released_records.items():
            places |= {f"{language}_records_{split}": getattr(records, split) for split in records.splits}
        return places

    def mirrored(self, place: Place) -> Place:
        """The place itself, or where the mirror holds a copy of it."""
        if place.hub is None or self.released_mirror is None:
            return place
        return Place(path=f"{self.released_mirror}/{place.hub}", file=place.file)

    def decoding_of(self, method: str, model: str | None = None) -> Decoding:
        """Decoding of a method: the one of the table, or the published one; sampled with the seed of the model."""
        decoding = paper_decoding(method) if self.published_decoding else self.decoding
        seed = None if model is None else self.further_seed(model)
        return decoding if seed is None else decoding.model_copy(update={"seed": seed})

    def overrides_of(self, method: str, model: str) -> dict[str, Any]:
        """Changes to the recipe of a method (or the critic) for a model: the general ones, then the model's."""
        own = self.models[model].recipe_overrides
        layers = [getattr(self.recipe_overrides, method), getattr(own, method)]
        if method in TRAINED_METHODS:
            layers.insert(1, own.training)
        merged: dict[str, Any] = {}
        for layer in layers:
            merge(merged, layer)
        seed = self.further_seed(model)
        # The critic's recipe is the only one with a seed of its own.
        return merged if seed is None or method != "critic" else {**merged, "seed": seed}

    def engine_of(self, model: str, *, judge: bool = False) -> dict[str, Any]:
        """Settings of the engine that a model answers, or judges, with, as plain values."""
        engine = self.judging_engine if judge else self.inference
        settings = engine.model_dump(include=set(EngineSettings.model_fields))
        if engine.dtype == "auto":
            settings["dtype"] = self.models[model].dtype
        return settings

    @property
    def judging_engine(self) -> EngineSettings:
        """The engine of the judges."""
        return self.judges.engine or self.inference

    @property
    def needs_vllm(self) -> bool:
        """Whether jobs that answer prompts or judge run vLLM, in process or as a server."""
        return self.inference.needs_vllm or (bool(self.judges.run) and self.judging_engine.needs_vllm)

    @property
    def inference_gpus(self) -> int:
        """GPUs of a job that answers prompts."""
        return self.inference.gpus if self.gpus else 0

    @property
    def judging_gpus(self) -> int:
        """GPUs of a job that judges."""
        return self.judging_engine.gpus if self.gpus else 0

    def scorer_of(self, model: str) -> str:
        """The model whose base scores LM features for cells of `model`."""
        return self.models[model].scorer or model

    def language_of(self, dataset: str) -> str:
        """The language whose corpora list the dataset."""
        return next(language for language, datasets in self.corpora.items() if dataset in datasets)


def load_config(values: Mapping[str, Any], file: StrPath = "config") -> Config:
    """Type the merged configuration.

    Args:
        values: what the YAML files hold, merged.
        file: named in error messages.

    Raises:
        BadInputs: one line a problem: the key, what is wrong and the nearest known name.
    """
    values = with_seeds(values, file)
    sources = dict(values.get("sources") or {})
    if sources.get("mirror"):
        values["sources"] = {**sources, "kind": "mirror"}
    return read_settings(Config, values, file=file, docs="docs/config.md")


def read_config(*files: StrPath) -> Config:
    """Read YAML files, merged as Snakemake does: later files win, mappings are merged, lists replaced."""
    merged: dict[str, Any] = {}
    for file in files:
        merge(merged, read_yaml(file))
    return load_config(merged, file=files[-1])


def _check_cell_source(name: str, method: str, cell: CellSource) -> None:
    """Raise ValueError where a source makes no sense for the method."""
    if cell.checkpoint is not None and method not in TRAINED_METHODS:
        owner = "hdpo, whose policy hdporef is" if method in ORACLE_METHODS else "models.<name>.hub"
        raise ValueError(
            f"cells.{name}.checkpoint: {method} has no checkpoint of its own; give it to {owner}"
        )
    if cell.predictions is not None and method not in ORACLE_METHODS and looks_oracle(cell.predictions.name):
        raise ValueError(
            f"cells.{name}.predictions: {cell.predictions.name} was predicted from a prompt that shows the reference "
            f"answer; give it to {name.replace(f'_{method}_', '_hdporef_')}"
        )


def parse_cell(cell: str, config: Config) -> tuple[str, str, str]:
    """(language, method, model) of `{lang}_{method}_{model}`.

    Raises:
        BadInput: naming the part that is not known and the nearest name that is.
    """
    parts = cell.split("_")
    if len(parts) != 3:
        raise BadInput(f"{cell!r} names no cell", expected="{lang}_{method}_{model}, e.g. en_hdpo_llama3b")
    known = {"language": list(config.corpora), "method": list(METHODS), "model": list(config.models)}
    problems = []
    for (kind, names), part in zip(known.items(), parts, strict=True):
        if part not in names:
            problems.append(f"no {kind} {part!r}, {nearest(part, names)}")
    if problems:
        fix = "correct the name or add it to the config"
        raise BadInput(f"unknown cell {cell!r}: " + "; ".join(problems), fix=fix)
    return parts[0], parts[1], parts[2]


_CELL_TARGET = re.compile(r"(?:^|/)results/(?:metrics|checkpoints|predictions)/([^/]+?)(?:\.json)?(?:/.*)?$")


def check_targets(targets: Sequence[str], config: Config) -> None:
    """Raise `BadInput` when a target names a cell that no rule could build."""
    for target in targets:
        if match := _CELL_TARGET.search(target):
            parts = parse_cell(match.group(1).removesuffix(".manifest"), config)
            try:
                config.check_cell(*parts)
            except ValueError as error:
                raise BadInput(str(error)) from None
