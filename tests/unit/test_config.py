"""The configuration: what is right is typed, and every mistake is one line: the key and the nearest name."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from polyalign.config import (
    ORACLE_METHODS,
    Config,
    check_targets,
    load_config,
    parse_cell,
    read_config,
)
from polyalign.errors import BadInput, BadInputs
from polyalign.methods import METHODS, TRAINED_METHODS

VALUES: dict[str, Any] = {
    "grid": {"languages": ["en"], "methods": ["base", "sft"], "models": ["tiny"]},
    "corpora": {"en": ["dolly", "coqa"], "zh": ["drcd"]},
    "models": {
        "tiny": {"build": {"layers": 2}, "chat_template": "tiny"},
        "qwen1.5b": {"hub": "Qwen/Qwen2.5-1.5B", "chat_template": "qwen2.5", "scorer": "tiny"},
    },
}


def changed(path: str, value: Any) -> dict[str, Any]:
    """VALUES with the key at a path such as `models/tiny/hub` set."""
    values = copy.deepcopy(VALUES)
    *parents, last = path.split("/")
    node = values
    for parent in parents:
        node = node.setdefault(parent, {})
    node[last] = value
    return values


def mistakes(values: dict[str, Any]) -> list[str]:
    with pytest.raises(BadInputs) as error:
        load_config(values, "mine.yaml")
    return str(error.value).splitlines()


class TestMistakes:
    @pytest.mark.parametrize(
        "path, value, field, hint",
        [
            ("sed", 1, "sed", "did you mean 'seed'?"),
            ("featuers", {}, "featuers", "did you mean 'features'?"),
            ("features/lm/max_lenght", 10, "features.lm.max_lenght", "did you mean 'max_length'?"),
            ("models/tiny/chat_templat", "x", "models.tiny.chat_templat", "did you mean 'chat_template'?"),
            ("models/tiny/build/layer", 2, "models.tiny.build.layer", "did you mean 'layers'?"),
            ("sources/demo/row", 2, "sources.demo.row", "did you mean 'rows'?"),
            ("pairs/rows/dev", 2, "pairs.rows.dev", "known: train, val"),
            ("recipe_overrides/hpdo", {}, "recipe_overrides.hpdo", "did you mean 'hdpo'?"),
        ],
    )
    def test_an_unknown_key_is_told_with_the_nearest_one(self, path: str, value: Any, field: str, hint: str):
        (line,) = mistakes(changed(path, value))
        assert line == f"mine.yaml, field '{field}': unknown key; fix: {hint}"

    @pytest.mark.parametrize(
        "path, value, expected",
        [
            ("seed", "many", "field 'seed': Input should be a valid integer"),
            ("gpus", -1, "field 'gpus': Input should be greater than or equal to 0"),
            ("features/set", "paper", "field 'features.set': Input should be 'paper-v1' or 'core-v1'"),
            ("grid/methods", ["sft", "ppo"], "field 'grid.methods.1': Input should be 'base', 'cot'"),
            ("pairs/rows/train", 0, "field 'pairs.rows.train': Input should be greater than 0"),
            ("corpora/de", ["x"], "field 'corpora.de"),
            ("models/tiny/build/learning_rate", 0, "field 'models.tiny.build.learning_rate'"),
        ],
    )
    def test_a_wrong_value_is_told_with_what_is_expected(self, path: str, value: Any, expected: str):
        (line,) = mistakes(changed(path, value))
        assert expected in line
        assert "docs/config.md" in line

    @pytest.mark.parametrize(
        "path, value, expected",
        [
            ("grid/models", ["tinny"], "grid.models: no model 'tinny'; did you mean 'tiny'?"),
            (
                "models/qwen1.5b/scorer",
                "tini",
                "models.qwen1.5b.scorer: no model 'tini'; did you mean 'tiny'?",
            ),
            ("grid/languages", ["en", "zh"], "corpora.zh"),
            ("grid/methods", ["hdporef"], "hdporef sees the reference answer"),
            ("models/a_b", {"hub": "a/b", "chat_template": "tiny"}, "models.a_b: a model key is made of"),
            ("models/a b", {"hub": "a/b", "chat_template": "tiny"}, "models.a b: a model key is made of"),
            ("models/tiny/hub", "a/b", "give exactly one of `hub` and `build`"),
            ("models/tiny/build", None, "give exactly one of `hub` and `build`"),
            ("sources/kind", "mirror", "sources.mirror: kind is mirror but no folder is given"),
            ("features", {"job": "language", "shards": 2}, "features.shards: job `language` is one job"),
            ("inference", {"job": "language", "shards": 2}, "inference.shards: job `language` is one job"),
            ("inference", {"job": "language", "engine": "vllm"}, "inference.job: one job for a language"),
            (
                "detectors/run",
                ["radar"],
                "detectors.radar.classifier: the detector runs and needs a model",
            ),
            (
                "detectors",
                {"run": ["radar"], "radar": {"classifier": "tinny"}},
                "detectors.radar.classifier: no model 'tinny'; did you mean 'tiny'?",
            ),
            (
                "embeddings",
                {"encoder": "tinny"},
                "embeddings.encoder: no model 'tinny'; did you mean 'tiny'?",
            ),
            (
                "models/other",
                {"stand_in": {"kind": "filler", "like": "qwen1.5b"}},
                "models.other.stand_in.like: name a model that is built here",
            ),
        ],
    )
    def test_values_that_contradict_each_other_are_told(self, path: str, value: Any, expected: str):
        values = changed(path, value)
        if path == "grid/languages":
            values["corpora"]["zh"] = []
        (line,) = mistakes(values)
        assert expected in line

    def test_all_mistakes_are_told_at_once(self):
        values = changed("sed", 1) | {"gpus": -1, "inference": {"engin": "vllm"}}
        assert len(mistakes(values)) == 3

    def test_a_missing_key_is_named(self):
        values = copy.deepcopy(VALUES)
        del values["corpora"]
        (line,) = mistakes(values)
        assert "'corpora': missing key" in line

    def test_a_model_of_the_grid_needs_a_chat_template(self):
        values = copy.deepcopy(VALUES)
        del values["models"]["tiny"]["chat_template"]
        (line,) = mistakes(values)
        assert "models.tiny.chat_template" in line


class TestLoading:
    def test_what_is_not_stated_is_the_paper(self):
        config = load_config(VALUES)
        assert config.data.seed == 42
        assert config.data.token_rule == "neutral"
        assert config.references.min_bucket_size == 20
        assert config.features.set == "paper-v1"
        assert (config.pairs.rows.train, config.pairs.rows.val) == (None, None)

    def test_a_mirror_folder_means_kind_mirror(self):
        config = load_config(changed("sources/mirror", "raw"))
        assert (config.sources.kind, config.sources.mirror) == ("mirror", "raw")

    def test_the_scorer_is_the_model_unless_another_is_named(self):
        config = load_config(VALUES)
        assert config.scorer_of("tiny") == "tiny"
        assert config.scorer_of("qwen1.5b") == "tiny"

    def test_a_corpus_belongs_to_the_language_that_lists_it(self):
        config = load_config(VALUES)
        assert config.language_of("coqa") == "en"
        assert config.language_of("drcd") == "zh"

    def test_loading_leaves_the_given_values_alone(self):
        values = changed("sources/mirror", "raw")
        before = copy.deepcopy(values)
        load_config(values)
        assert values == before

    def test_values_do_not_change_after_loading(self):
        with pytest.raises(ValueError, match="frozen"):
            load_config(VALUES).seed = 7  # type: ignore[misc]

    def test_a_dump_loads_as_the_same_configuration(self):
        config = load_config(VALUES)
        assert Config.model_validate(config.model_dump(mode="json")) == config


class TestFiles:
    def test_later_files_win_key_by_key(self, tmp_path: Path):
        first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
        first.write_text(yaml.safe_dump(VALUES))
        second.write_text("models: {tiny: {build: {heads: 8}}}\ncorpora: {en: [dolly]}\nseed: 7\n")
        config = read_config(first, second)
        build = config.models["tiny"].build
        assert build is not None
        assert (build.layers, build.heads) == (2, 8)
        assert config.corpora["en"] == ["dolly"]
        assert config.corpora["zh"] == ["drcd"]
        assert config.seed == 7

    @pytest.mark.parametrize(
        "text, problem",
        [
            ("models: [unclosed", "not valid YAML"),
            ("- a\n- b\n", "holds a list; expected a mapping"),
            ("models: {tiny: \x00}", "not valid YAML"),
        ],
    )
    def test_a_broken_file_is_named_in_one_line(self, tmp_path: Path, text: str, problem: str):
        (tmp_path / "mine.yaml").write_text(text)
        with pytest.raises(BadInput, match=rf"mine\.yaml: {problem}") as error:
            read_config(tmp_path / "mine.yaml")
        assert "\n" not in str(error.value)

    def test_a_file_that_is_no_text_is_named(self, tmp_path: Path):
        (tmp_path / "mine.yaml").write_bytes(b"seed: \xff\xfe")
        with pytest.raises(BadInput, match=r"mine\.yaml"):
            read_config(tmp_path / "mine.yaml")

    def test_a_file_that_is_not_there_is_named(self, tmp_path: Path):
        with pytest.raises(BadInput, match=r"gone\.yaml"):
            read_config(tmp_path / "gone.yaml")


class TestCells:
    @pytest.fixture
    def config(self) -> Config:
        return load_config(VALUES)

    @pytest.mark.parametrize("method", METHODS)
    def test_a_cell_has_three_parts(self, config: Config, method: str):
        assert parse_cell(f"en_{method}_qwen1.5b", config) == ("en", method, "qwen1.5b")

    @pytest.mark.parametrize(
        "cell, problem",
        [
            ("en_hdpo_tinny", "no model 'tinny', did you mean 'tiny'?"),
            ("en_hpdo_tiny", "no method 'hpdo', did you mean 'hdpo'?"),
            ("de_hdpo_tiny", "no language 'de', known: en, zh"),
            (
                "de_hpdo_tinny",
                "no language 'de', known: en, zh; no method 'hpdo', did you mean 'hdpo'?; no model",
            ),
            ("en_dist_sft_qwen25_1_5b", "names no cell"),
            ("hdpo", "names no cell"),
        ],
    )
    def test_an_unknown_part_is_named(self, config: Config, cell: str, problem: str):
        with pytest.raises(BadInput) as error:
            parse_cell(cell, config)
        assert problem in str(error.value)

    @pytest.mark.parametrize(
        "target",
        [
            "results/metrics/en_hdpo_llama9b.json",
            "results/metrics/en_hdpo_llama9b.manifest.json",
            "runs/demo/results/metrics/en_hdpo_llama9b.json",
            "results/checkpoints/en_hdpo_llama9b/manifest.json",
            "results/predictions/en_hdpo_llama9b/test.jsonl",
        ],
    )
    def test_a_target_of_an_unknown_cell_is_refused(self, config: Config, target: str):
        with pytest.raises(BadInput, match="no model 'llama9b'"):
            check_targets(["-n", target], config)

    def test_other_targets_and_options_pass(self, config: Config):
        check_targets(
            [
                "-n",
                "--profile",
                "slurm",
                "tables",
                "results/metrics/en_hdpo_tiny.json",
                "results/metrics/en_hdporef_qwen1.5b.manifest.json",
                "results/checkpoints/en_sft_tiny/manifest.json",
                "results/predictions/zh_base_tiny/test.jsonl",
                "results/splits/en/test.parquet",
            ],
            config,
        )

    def test_methods_are_named_once(self):
        assert set(TRAINED_METHODS) | set(ORACLE_METHODS) < set(METHODS)
        assert not set(TRAINED_METHODS) & set(ORACLE_METHODS)


def test_recipes_change_in_general_then_for_a_model_then_for_its_method():
    values = changed("recipe_overrides", {"hdpo": {"beta": 0.2, "epochs": 2, "online": {"every": 5}}})
    values["models"]["tiny"]["recipe_overrides"] = {
        "training": {"epochs": 3, "precision": "float32"},
        "hdpo": {"precision": "bfloat16", "online": {"weight": 0.1}},
        "critic": {"epochs": 9},
    }
    config = load_config(values)
    assert config.overrides_of("hdpo", "tiny") == {
        "beta": 0.2,
        "epochs": 3,
        "precision": "bfloat16",
        "online": {"every": 5, "weight": 0.1},
    }
    assert config.overrides_of("sft", "tiny") == {"epochs": 3, "precision": "float32"}
    assert config.overrides_of("critic", "tiny") == {"epochs": 9}, "`training` is not the critic's"
    assert config.overrides_of("hdpo", "qwen1.5b")["epochs"] == 2
    assert config.overrides_of("hdpo", "tiny") == config.overrides_of("hdpo", "tiny"), (
        "nothing is merged in place"
    )
