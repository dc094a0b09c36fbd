"""Detectors with real tiny models: formulas on their logits, sense, long texts, refusals, files and summaries."""

import json
import random
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from polyalign.answer_texts import choose_rows, human_texts, predicted_texts
from polyalign.corpora.formatting import format_corpus
from polyalign.demo.sources import write_demo_source
from polyalign.detection.protocol import Verdict, check_same_tokenizer
from polyalign.detection.run import check_scores, detect_texts, load_detector
from polyalign.detection.settings import Detection, StandIn
from polyalign.detection.summary import summarize
from polyalign.errors import BadInput, PolyAlignError
from polyalign.files import read_jsonl, write_jsonl
from polyalign.prompts import load_chat_template
from polyalign.records import read_records
from polyalign.tables.detection import build_detection, detection_page
from polyalign.tiny_model import build_tiny_model

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from polyalign.detection.perturbation import (  # noqa: E402
    SentinelOrder,
    choose_spans,
    join_fills,
    masked_text,
    units_of,
)
from polyalign.detection.stand_ins import build_stand_ins  # noqa: E402

SIZES = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "layers": 2,
    "heads": 2,
    "kv_heads": 1,
    "vocab_size": 800,
    "pretrain_steps": 90,
    "learning_rate": 5e-3,
    "batch_size": 8,
    "sequence_length": 64,
}


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """A folder with records.parquet, the model `base`, and the stand-ins `other`, `classifier` and `filler`."""
    root = tmp_path_factory.mktemp("detection")
    write_demo_source("squad_v2", root / "raw", 150, 1)
    format_corpus("squad_v2", root / "raw", root / "formatted")
    records = root / "formatted/train.parquet"
    records.rename(root / "records.parquet")
    template = load_chat_template("tiny")
    build_tiny_model(
        [root / "records.parquet"], root / "base", settings=SIZES, chat_template=template, seed=3
    )
    kinds = {"other": "causal", "classifier": "classifier", "filler": "filler"}
    values = {
        name: StandIn(kind=kind, like="base", hidden_size=32, layers=1, steps=20).model_dump()
        for name, kind in kinds.items()
    }
    build_stand_ins(root / "records.parquet", root / "made", values, {"base": root / "base"}, 1)
    return root


def folders(world: Path, detector: str) -> dict[str, Path]:
    made = world / "made"
    return {
        "fast_detectgpt": {"sampler": world / "base", "scorer": made / "other"},
        "binoculars": {"observer": world / "base", "performer": made / "other"},
        "radar": {"classifier": made / "classifier"},
        "detectgpt": {"scorer": world / "base", "filler": made / "filler"},
    }[detector]


def load(world: Path, detector: str, **changes):
    return load_detector(detector, folders(world, detector), Detection(**changes))


@pytest.fixture(scope="module")
def answers(world) -> list[str]:
    contexts = dict.fromkeys(record["context"] for record in read_records(world / "records.parquet"))
    return list(contexts)[:12]


def direct_logprobs(folder: Path, text: str) -> tuple[np.ndarray, list[int]]:
    """(log-probabilities [positions, v] of every next token, the token ids), straight from the model."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    ids = tokenizer(text)["input_ids"]
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0].double().numpy()
    logits -= logits.max(-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True)), ids


def test_both_likelihood_detectors_agree_with_the_models_own_logits(world, answers):
    texts = answers[:3]
    fast = load(world, "fast_detectgpt").detect(texts)
    binoculars = load(world, "binoculars").detect(texts)
    swapped = load(world, "binoculars", binoculars={"perplexity_of": "performer"}).detect(texts)
    for text, curvature, ratio, other in zip(texts, fast, binoculars, swapped, strict=True):
        first, ids = direct_logprobs(world / "base", text)
        second, _ = direct_logprobs(world / "made/other", text)
        first, second, places, targets = first[:-1], second[:-1], np.arange(len(ids) - 1), ids[1:]
        p = np.exp(first)
        mean = (p * second).sum(-1)
        variance = (p * second**2).sum(-1) - mean**2
        expected = (second[places, targets].sum() - mean.sum()) / np.sqrt(variance.sum())
        assert curvature.raw == pytest.approx(expected, abs=2e-4)
        assert curvature.score == curvature.raw
        assert curvature.tokens == len(ids) - 1
        cross = -mean.sum()
        assert ratio.raw == pytest.approx(-first[places, targets].sum() / cross, abs=1e-4)
        assert other.raw == pytest.approx(-second[places, targets].sum() / cross, abs=1e-4)
        assert (ratio.score, ratio.threshold) == (-ratio.raw, -0.9015)
        assert (ratio.decision == "ai") == (ratio.raw <= 0.9015)


def sampled_and_shuffled(world: Path) -> tuple[list[str], list[str]]:
    """Texts drawn from the base model, and the same words in another order."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(world / "base")
    model = transformers.AutoModelForCausalLM.from_pretrained(world / "base").eval()
    torch.manual_seed(0)
    start = torch.full((16, 1), tokenizer.bos_token_id)
    drawn = model.generate(
        start, attention_mask=torch.ones_like(start), do_sample=True, top_k=0, max_new_tokens=60
    )
    sampled = [tokenizer.decode(row, skip_special_tokens=True).strip() for row in drawn]
    rng = random.Random(1)
    return sampled, [" ".join(rng.sample(text.split(), len(text.split()))) for text in sampled]


@pytest.mark.parametrize("detector", ["fast_detectgpt", "binoculars", "detectgpt"])
def test_text_of_the_scorer_looks_more_like_a_machine_than_shuffled_words(world, detector):
    sampled, shuffled = sampled_and_shuffled(world)
    places = folders(world, detector)
    if detector == "fast_detectgpt":
        places = dict.fromkeys(places, world / "base")
    loaded = load_detector(detector, places, Detection(detectgpt={"fill_tokens": 3}))
    higher = [
        one.score > other.score
        for one, other in zip(loaded.detect(sampled), loaded.detect(shuffled), strict=True)
    ]
    assert np.mean(higher) > 0.7


@pytest.mark.parametrize("detector", ["fast_detectgpt", "binoculars", "radar"])
def test_order_and_batches_do_not_change_scores(world, answers, detector):
    whole = load(world, detector).detect(answers)
    parts = load(world, detector, batch_tokens=64).detect(answers[::-1])[::-1]
    assert [one.score for one in parts] == pytest.approx([one.score for one in whole], abs=1e-4)


@pytest.mark.parametrize("detector", ["fast_detectgpt", "binoculars", "radar", "detectgpt"])
def test_long_texts_are_read_whole_or_left_out_never_cut(world, answers, detector):
    text = " ".join(answers)
    short = {"max_length": 64, "detectgpt": {"perturbations": 2, "fill_tokens": 2}}
    (windowed,) = load(world, detector, **short).detect([text])
    tokens = len(transformers.AutoTokenizer.from_pretrained(world / "base")(text)["input_ids"])
    assert windowed.windows > 1
    assert windowed.tokens == (tokens if detector == "radar" else tokens - 1)
    assert load(world, detector, **short, long_texts="error").detect([text]) == ["too_long"]
    # The end of the text counts.
    (changed,) = load(world, detector, **short).detect([text[:-40] + "qqq zzz qqq zzz qqq"])
    assert changed.score != windowed.score


@pytest.mark.parametrize("detector", ["fast_detectgpt", "binoculars", "radar", "detectgpt"])
def test_texts_without_a_score_say_why(world, answers, detector):
    found = load(world, detector).detect(["", answers[0], "  \n"])
    assert (found[0], found[2]) == ("empty", "empty")
    assert isinstance(found[1], Verdict)
    assert load(world, detector).detect([]) == []
    if detector != "radar":
        assert load(world, detector).detect(["x"]) == ["too_short"]


def test_windows_with_context_stay_close_to_the_whole(world, answers):
    text = " ".join(answers[:4])
    (whole,) = load(world, "binoculars").detect([text])
    (windowed,) = load(world, "binoculars", max_length=64).detect([text])
    assert windowed.raw == pytest.approx(whole.raw, rel=0.1)


def test_models_with_other_tokenizers_are_refused(world, tmp_path):
    build_tiny_model(
        [world / "records.parquet"],
        tmp_path / "odd",
        settings={**SIZES, "vocab_size": 700, "pretrain_steps": 1},
        chat_template=load_chat_template("tiny"),
        seed=1,
    )
    with pytest.raises(
        BadInput, match=r"observer and performer have different tokenizers: .* tokens are in one"
    ):
        load_detector("binoculars", {"observer": world / "base", "performer": tmp_path / "odd"}, Detection())
    tokenizer = transformers.AutoTokenizer.from_pretrained(world / "base")
    check_same_tokenizer(tokenizer, tokenizer, ["a", "b"])


def test_missing_models_and_wrong_classifiers_are_refused(world, tmp_path):
    with pytest.raises(BadInput, match="no detector 'gltr'"):
        load_detector("gltr", {}, Detection())
    with pytest.raises(BadInput, match="binoculars has no performer"):
        load_detector("binoculars", {"observer": world / "base"}, Detection())
    with pytest.raises(BadInput, match="no classifier model here"):
        load_detector("radar", {"classifier": tmp_path}, Detection())
    with pytest.raises(BadInput, match="no sentinels"):
        load_detector(
            "detectgpt", {"scorer": world / "base", "filler": with_t5(world, tmp_path)}, Detection()
        )


def with_t5(world: Path, folder: Path) -> Path:
    """A T5 with a tokenizer that has no sentinels."""
    config = transformers.T5Config(
        vocab_size=800, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, decoder_start_token_id=0
    )
    transformers.T5ForConditionalGeneration(config).save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(world / "base").save_pretrained(folder)
    return folder


def test_radar_takes_class_0_for_machine(world, answers):
    (verdict,) = load(world, "radar").detect(answers[:1])
    folder = world / "made/classifier"
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    ids = transformers.AutoTokenizer.from_pretrained(folder)(answers[0], return_tensors="pt")["input_ids"]
    with torch.no_grad():
        expected = model(ids).logits.softmax(-1)[0, 0].item()
    assert verdict.score == pytest.approx(expected, abs=1e-6)
    assert verdict.p_ai == verdict.score
    assert verdict.raw == pytest.approx(np.log(expected / (1 - expected)), abs=1e-4)


class TestPerturbation:
    @pytest.mark.parametrize(
        "text", ["One two,  three\nfour", "北京是中国的首都。", "The city 北京 grew to 20"]
    )
    def test_units_make_the_text_again(self, text):
        assert "".join(units_of(text)) == text
        assert len(units_of("北京是中国的首都。")) == 9

    def test_spans_keep_their_distance_and_share(self):
        for seed in range(20):
            spans = choose_spans(100, random.Random(seed), share=0.15, span=2, buffer=1, most=99)
            assert 6 <= len(spans) <= 8
            assert all(end - start == 2 for start, end in spans)
            assert all(after - end >= 1 for (_, end), (after, _) in pairwise(spans))
        assert len(choose_spans(4, random.Random(0), share=0.15, span=2, buffer=1, most=99)) == 1
        assert len(choose_spans(900, random.Random(0), share=0.15, span=2, buffer=1, most=5)) == 5

    def test_masks_and_fills_leave_the_other_words_alone(self):
        units = units_of("a b c d e f")
        spans = [(0, 2), (4, 5)]
        assert masked_text(units, spans) == "<extra_id_0> c d <extra_id_1> f"
        assert join_fills(units, spans, ["x y z", "w"]) == "x y z c d w f"

    def test_the_decoder_can_write_nothing_but_fills_in_order(self):
        sentinels, eos = torch.tensor([5, 6, 7]), 1
        content = torch.tensor([False, False, True, True, True, False, False, False])
        order = SentinelOrder(sentinels, content, torch.tensor([2]), fill_tokens=2, eos=eos)
        written, allowed = [0], []
        generator = torch.Generator().manual_seed(0)
        while written[-1] != eos:
            scores = order(torch.tensor([written]), torch.randn(1, 8, generator=generator))
            allowed.append(sorted(torch.isfinite(scores[0]).nonzero().flatten().tolist()))
            written.append(int(scores.argmax()))
        assert allowed[0] == [5]
        assert allowed[1] == [2, 3, 4]
        assert [token for token in written if token >= 5] == [5, 6, 7]
        assert all(set(some) <= {1, 2, 3, 4, 5, 6, 7} for some in allowed)
        between = "".join("s" if token >= 5 else "w" for token in written[1:-1]).strip("s").split("s")
        assert all(1 <= len(fill) <= 2 for fill in between)

    def test_versions_are_the_same_for_a_seed_and_change_with_it(self, world, answers):
        def versions(seed):
            settings = Detection(detectgpt={"perturbations": 3})
            loaded = load_detector("detectgpt", folders(world, "detectgpt"), settings, seed=seed)
            return loaded.filler.versions(answers[:2])

        first = versions(1)
        assert first == versions(1)
        assert first != versions(2)
        for text, found in zip(answers, first, strict=False):
            assert len(found) == 3
            for version in found:
                kept = [word for word in text.split() if word in version.split()]
                assert version != text
                assert len(kept) >= 0.6 * len(text.split())


class Fixed:
    """A detector that says what it is told."""

    name = "fixed"

    def __init__(self, scores):
        self.scores = scores

    def detect(self, texts):
        return [Verdict(score, score, 0.5, None, 5, 1) for score in self.scores[: len(texts)]]

    def describe(self):
        return {}


def test_scores_that_are_no_numbers_or_all_alike_end_with_their_count(tmp_path, world):
    texts = human_texts(world / "records.parquet", 12, 1)
    with pytest.raises(PolyAlignError, match="2 of 12 scores are no finite numbers"):
        detect_texts(Fixed([0.1, float("nan"), float("inf"), *[0.3] * 9]), texts, tmp_path / "a.jsonl")
    with pytest.raises(PolyAlignError, match=r"all 12 scores are 0\.25"):
        detect_texts(Fixed([0.25] * 12), texts, tmp_path / "a.jsonl")
    assert list(tmp_path.iterdir()) == []
    check_scores([Verdict(1.0, 1.0, 0.5, None, 1, 1)] * 3, "fixed", "few rows")


def test_the_same_rows_are_drawn_for_everybody():
    assert choose_rows(100, 10, 7) == choose_rows(100, 10, 7) != choose_rows(100, 10, 8)
    assert choose_rows(5, 10, 7) == choose_rows(5, None, 7) == [0, 1, 2, 3, 4]
    assert choose_rows(100, 10, 7) == sorted(set(choose_rows(100, 10, 7)))


def write_predictions(world, path, texts):
    records = list(read_records(world / "records.parquet"))
    rows = [
        {"source_index": row, "id": records[row]["id"], "prediction": text, "finish_reason": reason}
        for row, (text, reason) in texts.items()
    ]
    write_jsonl(path, rows)
    return path


def test_rows_without_an_answer_are_counted_and_never_scored(world, tmp_path):
    texts = {
        0: ("A few words here.", "stop"),
        1: ("", "stop"),
        2: ("", "error"),
        3: ("Some other words.", "stop"),
    }
    path = write_predictions(world, tmp_path / "p.jsonl", texts)
    total = sum(1 for _ in read_records(world / "records.parquet"))
    found = predicted_texts(path, world / "records.parquet")
    details = detect_texts(load(world, "binoculars"), found, tmp_path / "out.jsonl")
    assert details["scored"] == 2
    assert details["errors"] == {"empty": 1, "no_answer": total - 3}
    rows = [row for _, row in read_jsonl(tmp_path / "out.jsonl")]
    assert [row["error"] for row in rows[:4]] == [None, "empty", "no_answer", None]
    assert rows[0]["decision"] in ("ai", "human")
    assert rows[1]["score"] is rows[1]["decision"] is None
    assert len(predicted_texts(path)) == 4


def test_an_answer_to_another_record_is_refused(world, tmp_path):
    path = write_predictions(world, tmp_path / "p.jsonl", {0: ("a", "stop"), 1: ("b", "stop")})
    lines = path.read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    rows[0]["id"], rows[1]["id"] = rows[1]["id"], rows[0]["id"]
    write_jsonl(path, rows)
    with pytest.raises(BadInput, match=r"p\.jsonl, row 1, field 'id'"):
        predicted_texts(path, world / "records.parquet")


def scores_file(path: Path, scores: dict[int, float | None]) -> Path:
    rows = [
        {
            "source_index": index,
            "id": f"r{index}",
            "score": score,
            "threshold": 0.5,
            "decision": None if score is None else "ai" if score >= 0.5 else "human",
            "error": "empty" if score is None else None,
        }
        for index, score in scores.items()
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_jsonl(path, rows)
    return path


class TestSummary:
    SETTINGS = Detection(bootstrap=50, bins=5)

    @pytest.fixture
    def files(self, tmp_path):
        rng = np.random.default_rng(0)
        rows = 120
        human = {row: float(rng.normal(0)) for row in range(rows)}
        near = {row: float(rng.normal(0.2)) for row in range(rows)}
        far = {row: float(rng.normal(3)) for row in range(rows)}
        human[0] = near[1] = far[2] = None
        systems = {"zh_hdpo_tiny": near, "zh_base_tiny": far}
        return scores_file(tmp_path / "zh_human.jsonl", human), {
            cell: scores_file(tmp_path / f"{cell}.jsonl", scores) for cell, scores in systems.items()
        }

    def test_it_rests_on_the_rows_that_all_have(self, files):
        human, systems = files
        summary = summarize("binoculars", "zh", human, systems, self.SETTINGS, 1)
        assert summary["common_rows"] == 117
        near, far = summary["systems"].values()
        assert far["auroc"] > near["auroc"]
        assert near["auroc_low"] < near["auroc"] < near["auroc_high"]
        assert far["tpr_at_1_fpr"] <= far["tpr_at_5_fpr"]
        assert near["errors"] == summary["human"]["errors"] == {"empty": 1}
        for figures in (summary["human"], near, far):
            assert sum(figures["histogram"]) == 117
        assert summary["calibrated"] is False
        assert "not calibrated" in summary["note"]
        assert summarize("binoculars", "en", human, systems, self.SETTINGS, 1)["note"] is None

    def test_the_page_holds_every_figure_and_what_to_know(self, files, tmp_path):
        summary = summarize("binoculars", "zh", *files, self.SETTINGS, 1)
        details = build_detection([summary], tmp_path / "tables", models=["tiny"], stand_ins=["small"])
        assert details["cells"] == ["zh_base_tiny", "zh_hdpo_tiny"]
        assert all(Path(file).stat().st_size for file in details["files"])
        text = (tmp_path / "tables/detection_zh.md").read_text()
        assert f"{summary['systems']['zh_hdpo_tiny']['auroc']:.3f} [" in text
        assert "not calibrated for this language" in text
        assert "Human answers" in text
        assert "say nothing about the detectors" in text

    def test_published_figures_stand_beside_a_cell_of_the_paper(self, files):
        human, systems = files
        renamed = {"zh_base_llama3b": systems["zh_base_tiny"]}
        summary = summarize("binoculars", "zh", human, renamed, self.SETTINGS, 1)
        (table,) = [one for one in detection_page([summary], "zh").tables if one.key == "published"]
        assert "NaN" in table.rows[0].values["flags"].text

    def test_an_oracle_is_no_system(self, files):
        human, systems = files
        with pytest.raises(BadInput, match="zh_hdporef_tiny saw the reference answer"):
            summarize("radar", "zh", human, {"zh_hdporef_tiny": systems["zh_hdpo_tiny"]}, self.SETTINGS, 1)

    def test_other_rows_and_ids_are_refused(self, files, tmp_path):
        human, systems = files
        rows = [row for _, row in read_jsonl(systems["zh_hdpo_tiny"])]
        write_jsonl(tmp_path / "fewer.jsonl", rows[:-1])
        with pytest.raises(BadInput, match="row 119 is there for the human answers alone"):
            summarize("radar", "zh", human, {"zh_hdpo_tiny": tmp_path / "fewer.jsonl"}, self.SETTINGS, 1)
        shifted = [{**row, "id": f"r{row['source_index'] + 1}"} for row in rows]
        write_jsonl(tmp_path / "shifted.jsonl", shifted)
        with pytest.raises(BadInput, match="found 'r1' for row 0"):
            summarize("radar", "zh", human, {"zh_hdpo_tiny": tmp_path / "shifted.jsonl"}, self.SETTINGS, 1)

    def test_nothing_in_common_is_refused(self, tmp_path):
        human = scores_file(tmp_path / "h.jsonl", {0: 1.0, 1: None})
        system = scores_file(tmp_path / "s.jsonl", {0: None, 1: 1.0})
        with pytest.raises(BadInput, match="no row has a score"):
            summarize("radar", "en", human, {"en_sft_tiny": system}, self.SETTINGS, 1)
