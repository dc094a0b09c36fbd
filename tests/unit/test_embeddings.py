"""Answers to vectors on a tiny random encoder, the cache, the pictures and pages, the command line."""

import itertools
import json
import re
import sys
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import polyalign.cli
from polyalign.answer_texts import Text
from polyalign.embeddings.cache import VectorCache, cached_encode
from polyalign.embeddings.encode import embed, embed_files, embed_job, load_encoder, read_texts
from polyalign.embeddings.projections import Projection, project, project_all
from polyalign.embeddings.run import analyze_files
from polyalign.embeddings.settings import Embeddings
from polyalign.embeddings.vectors import read_vectors
from polyalign.errors import BadInput, PolyAlignError
from polyalign.files import read_json, read_jsonl, read_table, write_json, write_jsonl
from polyalign.plots import embeddings as plot
from polyalign.plots import style
from polyalign.plots.embeddings import Drawn, looks
from polyalign.plots.style import COLOURS
from polyalign.tables.embeddings import build_embeddings
from polyalign.tables.names import METHOD_LABELS, in_table_order
from tests.embedding_world import WORDS, save_encoder, write_world
from tests.human_eval_world import HOSTILE, page_data

torch = pytest.importorskip("torch")
TEXTS = ["w1 w2 w3", "x4 x5", "", "w1 w2 w3", " ".join(WORDS["plain"])]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def encoder(folder):
    return load_encoder(folder, Embeddings(), origin={"key": "tiny"})


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def analyzed(world, folder, tmp_path_factory):
    """(folder of everything that the command writes, its summary)."""
    out = tmp_path_factory.mktemp("analyzed") / "out"
    records, predictions = world
    options = {"bootstrap": 50, "permutations": 50, "projections": ["pca", "tsne"], "figure_rows": 30}
    summary = analyze_files(records, predictions, folder, out, options=options)
    return out, summary


class Counting:
    """An encoder that counts what it is given."""

    dim, max_length = 2, 4

    def __init__(self, name="one", vector=(1.0, 2.0)):
        self.identity, self.vector, self.seen = {"name": name}, vector, []

    def lengths(self, texts):
        return [len(text.split()) for text in texts]

    def encode(self, texts):
        self.seen += texts
        return np.array([[len(text), *self.vector[1:]] for text in texts], dtype=np.float32)


class TestVectors:
    def test_they_are_the_mean_of_the_last_states(self, folder, encoder):
        from transformers import AutoModel, AutoTokenizer

        ids = AutoTokenizer.from_pretrained(folder)(TEXTS[0], return_tensors="pt")["input_ids"]
        with torch.no_grad():
            states = AutoModel.from_pretrained(folder)(input_ids=ids).last_hidden_state[0]
        assert encoder.encode(TEXTS)[0] == pytest.approx(states.mean(dim=0).numpy(), abs=1e-5)

    def test_a_model_of_the_bert_kind_needs_no_end_token(self, tmp_path):
        found = load_encoder(save_encoder(tmp_path, bert=True), Embeddings()).encode(TEXTS)
        assert found.shape == (5, 32)
        assert np.isfinite(found).all()
        assert found[0] == pytest.approx(found[3], abs=1e-5)

    def test_what_was_counted_and_the_encoder_stand_in_the_file(self, encoder, tmp_path):
        texts = [Text(row, f"r{row}", text) for row, text in enumerate([*TEXTS, None])]
        settings = Embeddings(max_length=8, normalize=False)
        short = load_encoder(encoder._encoder.folder, settings, origin={"key": "tiny", "hub": None})
        counts = embed(short, texts, settings, None, tmp_path / "v.parquet")
        assert counts == {"rows": 6, "embedded": 5, "no_answer": 1, "empty": 1, "cut": 1, "distinct": 4}
        found = read_vectors(tmp_path / "v.parquet")
        assert (found.rows.tolist(), found.ids) == ([0, 1, 2, 3, 4], [f"r{n}" for n in range(5)])
        assert found.values == pytest.approx(short.encode(TEXTS), abs=1e-6)
        assert found.counts == counts
        assert found.encoder["digest"] == encoder.identity["digest"]
        assert (found.encoder["key"], found.encoder["max_length"], found.encoder["normalize"]) == (
            "tiny",
            8,
            False,
        )

    def test_vectors_have_length_one_unless_asked_for_as_they_are(self, encoder, tmp_path):
        texts = [Text(0, None, TEXTS[0])]
        embed(encoder, texts, Embeddings(), None, tmp_path / "v.parquet")
        assert np.linalg.norm(read_vectors(tmp_path / "v.parquet").values, axis=1) == pytest.approx([1])

    def test_a_prefix_is_read_with_every_answer(self, tmp_path):
        counting = Counting()
        texts = [Text(0, None, "a b"), Text(1, None, "")]
        counts = embed(counting, texts, Embeddings(prefix="query: "), None, tmp_path / "v.parquet")
        assert counting.seen == ["query: a b", "query: "]
        assert counts["empty"] == 1

    def test_the_model_s_own_limit_holds(self, folder):
        assert load_encoder(folder, Embeddings(max_length=500)).max_length == 64

    def test_no_model_is_one_line(self, tmp_path):
        with pytest.raises(BadInput, match="no encoder model here"):
            load_encoder(tmp_path, Embeddings())

    def test_a_missing_package_is_named_with_the_way_to_get_it(self, folder, monkeypatch):
        monkeypatch.setitem(sys.modules, "sentence_transformers", None)
        with pytest.raises(BadInput, match="pip install sentence-transformers"):
            load_encoder(folder, Embeddings(kind="sentence_transformers"))

    def test_sentence_transformers_pools_a_plain_model_as_we_do(self, folder, encoder):
        pytest.importorskip("sentence_transformers", reason="optional: pip install sentence-transformers")
        other = load_encoder(folder, Embeddings(kind="sentence_transformers"))
        assert other.encode(TEXTS[:2]) == pytest.approx(encoder.encode(TEXTS[:2]), abs=1e-4)
        assert other.identity["digest"] != encoder.identity["digest"]

    def test_rows_are_the_same_for_humans_and_systems_and_broken_predictions_stop_all(self, world, tmp_path):
        records, predictions = world
        files = {"human": None, "odd": predictions["odd"]}
        texts = read_texts(records, files, Embeddings(rows=12), 5)
        drawn = [text.source_index for text in texts["human"]]
        assert len(drawn) == 12
        assert drawn == [text.source_index for text in texts["odd"]]
        assert drawn != [
            text.source_index for text in read_texts(records, files, Embeddings(rows=12), 6)["odd"]
        ]
        write_jsonl(tmp_path / "bad.jsonl", [{"source_index": 0, "id": "r1", "prediction": "w1"}])
        with pytest.raises(BadInput, match=r"found 'r1'.*the id of row 0"):
            read_texts(records, {"bad": tmp_path / "bad.jsonl"}, Embeddings(), 5)


class TestCache:
    def test_a_text_is_encoded_once_for_all_time(self, tmp_path):
        first, again = Counting(), Counting()
        texts = ["a", "bb", "a", "ccc"]
        cache = VectorCache(tmp_path, first.identity, 2)
        found = cached_encode(first, texts, cache)
        assert first.seen == ["a", "bb", "ccc"]
        assert found[:, 0].tolist() == [1, 2, 1, 3]
        later = cached_encode(again, ["ccc", "dddd", "a"], VectorCache(tmp_path, again.identity, 2))
        assert again.seen == ["dddd"]
        assert later[:, 0].tolist() == [3, 4, 1]
        assert len(list(cache.folder.glob("*.parquet"))) == 2

    def test_another_encoder_has_another_cache(self, tmp_path):
        for name in ("one", "two"):
            counting = Counting(name)
            cached_encode(counting, ["a"], VectorCache(tmp_path, counting.identity, 2))
            assert counting.seen == ["a"]

    def test_vectors_that_are_no_numbers_are_counted_and_not_kept(self, tmp_path):
        broken = Counting(vector=(0.0, float("nan")))
        cache = VectorCache(tmp_path, broken.identity, 2)
        with pytest.raises(PolyAlignError, match="2 of 2 vectors are no finite numbers"):
            cached_encode(broken, ["a", "b"], cache)
        assert not cache.folder.exists()

    def test_a_broken_file_is_named(self, tmp_path):
        counting = Counting()
        cache = VectorCache(tmp_path, counting.identity, 2)
        cached_encode(counting, ["a"], cache)
        (file,) = cache.folder.glob("*.parquet")
        file.write_bytes(b"PAR1")
        with pytest.raises(BadInput, match=file.name):
            cached_encode(counting, ["b"], cache)

    def test_the_cache_changes_no_vector(self, world, encoder, tmp_path):
        records, predictions = world
        values = []
        for cache in (None, tmp_path / "cache", tmp_path / "cache"):
            texts = read_texts(records, {tmp_path / "v.parquet": predictions["same"]}, Embeddings(), 1)
            embed_files(encoder, texts, Embeddings(), cache_dir=cache)
            values.append(read_vectors(tmp_path / "v.parquet").values)
        assert np.array_equal(values[1], values[2])
        assert values[0] == pytest.approx(values[1], abs=1e-6)


def test_a_job_records_where_its_encoder_comes_from(world, folder, tmp_path):
    write_json(folder / "manifest.json", {"details": {"commit": "0123456789abcdef"}})
    try:
        details = embed_job(
            folder,
            world[0],
            {tmp_path / "human.parquet": None},
            settings={"rows": 20},
            dtype="float32",
            origin={"key": "e5", "hub": "someone/e5", "revision": "main"},
            seed=1,
            cache_dir=tmp_path / "cache",
        )
    finally:
        (folder / "manifest.json").unlink()
    assert details["encoder"]["hub"] == "someone/e5"
    assert details["encoder"]["commit"] == "0123456789abcdef"
    assert details["counts"][str(tmp_path / "human.parquet")]["embedded"] == 20


class TestProjections:
    CLOUDS = np.concatenate([np.random.default_rng(1).normal(n * 4, 1, (40, 10)) for n in range(2)])

    @pytest.mark.parametrize("name", ["pca", "tsne"])
    def test_equal_seeds_give_equal_places_and_clouds_stay_apart(self, name):
        first, again = (project(name, self.CLOUDS, Embeddings(), 3) for _ in range(2))
        assert np.array_equal(first, again)
        means = first[:40].mean(axis=0), first[40:].mean(axis=0)
        assert np.linalg.norm(means[0] - means[1]) > 2 * first[:40].std()

    def test_umap(self):
        """Slow to start, so the demo goes without it; one run is enough to see that it works here."""
        pytest.importorskip("umap")
        places = project("umap", self.CLOUDS, Embeddings(), 3)
        assert places.shape == (80, 2)
        means = places[:40].mean(axis=0), places[40:].mean(axis=0)
        assert np.linalg.norm(means[0] - means[1]) > 2 * places[:40].std()

    def test_a_missing_umap_is_named_with_the_way_to_get_it(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "umap", None)
        with pytest.raises(BadInput, match="pip install umap-learn, or leave umap out"):
            project("umap", self.CLOUDS, Embeddings(), 3)

    def test_principal_components_say_what_they_hold(self):
        (found,) = project_all(self.CLOUDS, Embeddings(projections=["pca"]), 1)
        assert re.fullmatch(r"PC1 \(\d+%\)", found.axes[0])
        share = int(re.search(r"(\d+)%", found.axes[0])[1])
        total = self.CLOUDS.var(axis=0).sum()
        assert share == pytest.approx(100 * found.places[:, 0].var() / total, abs=0.51)

    @pytest.mark.parametrize("name", ["pca", "tsne"])
    def test_answers_that_are_all_alike_lie_in_one_place(self, name):
        assert np.isfinite(project(name, np.ones((20, 1)), Embeddings(), 1)).all()

    def test_too_few_answers_are_refused(self):
        with pytest.raises(BadInput, match="3 answers to draw"):
            project_all(np.eye(3), Embeddings(projections=["pca"]), 1)


class TestEverythingAtOnce:
    def test_the_figures_tell_the_two_systems_apart(self, analyzed):
        _, summary = analyzed
        same, odd = (summary["systems"][name]["overall"] for name in ("same", "odd"))
        assert same["auc_low"] < 0.55
        assert odd["auc_low"] > 0.7
        assert odd["energy"] > 10 * abs(same["energy"])
        assert odd["frechet"] > 2 * odd["frechet_chance"]
        assert same["frechet"] < 2 * same["frechet_chance"]
        assert set(summary["systems"]["odd"]["by_bucket"]) == {
            "en|single|qa|short", "en|multi|dialogue|short",
        }  # fmt: skip

    def test_the_tables_hold_every_figure_and_name_the_encoder(self, analyzed, folder):
        out, summary = analyzed
        page = (out / "embeddings_en.html").read_text()
        markdown = (out / "embeddings_en.md").read_text()
        odd = summary["systems"]["odd"]
        assert f"{odd['overall']['auc']:.3f} [{odd['overall']['auc_low']:.3f}" in markdown
        assert f"{odd['by_bucket']['en|single|qa|short']['frechet']:.3f}" in markdown
        for text in (page, markdown):
            assert summary["encoder"]["digest"][:12] in text
            assert "60 of 60 rows" in text
        assert {path.suffix for path in out.glob("embeddings_en.*")} == {".md", ".html", ".tex", ".csv"}

    def test_the_picture_is_drawn_in_both_forms(self, analyzed):
        out, _ = analyzed
        with Image.open(out / "embeddings.png") as image:
            assert image.width > 800
            assert len(image.convert("RGB").getcolors(maxcolors=1 << 24)) > 50
        assert (out / "embeddings.pdf").read_bytes()[:5] == b"%PDF-"

    def test_coordinates_are_those_of_the_page(self, analyzed):
        out, _ = analyzed
        table = pq.read_table(out / "coordinates.parquet")
        data = page_data(out / "embeddings.html")
        assert table.num_rows == len(data["projections"][0]["places"]) == 3 * 30
        assert table["system"].to_pylist()[::30] == ["human", "same", "odd"]
        assert table["source_index"].to_pylist()[:30] == [row["source_index"] for row in data["rows"]]
        x = table["pca_x"].to_numpy()
        shown = np.array(data["projections"][0]["places"])[:, 0]
        assert np.corrcoef(x, shown)[0, 1] == pytest.approx(1)
        assert np.abs(np.array([p["places"] for p in data["projections"]])).max() <= 1

    def test_the_page_holds_answers_as_texts_and_loads_nothing(self, world, folder, tmp_path):
        records, predictions = world
        options = {"bootstrap": 0, "permutations": 0, "projections": ["pca"]}
        analyze_files(records, predictions, folder, tmp_path, options=options)
        text = (tmp_path / "embeddings.html").read_text()
        data = page_data(tmp_path / "embeddings.html")
        shown = {answer for row in data["rows"] for answer in row["answers"]}
        assert HOSTILE[0] in shown
        assert data["rows"][0]["question"] == "What <b>about</b> 0?"
        # One script for the data and one for each source; none of an answer.
        assert text.count("<script") == text.count("</script>") == 3
        assert "<img" not in text
        outside = re.sub(r'<script type="application/json".*?</script>', "", text, flags=re.DOTALL)
        assert not re.search(r"https?:|//[a-z]+\.|url\(|@import|\bsrc=|\bhref=", outside)
        assert "default-src 'none'" in text

    def test_answers_of_other_rows_are_left_out_of_all(self, world, folder, tmp_path):
        records, predictions = world
        rows = [row for _, row in read_jsonl(predictions["same"])][:40]
        write_jsonl(tmp_path / "some.jsonl", rows)
        given = {"odd": predictions["odd"], "some": tmp_path / "some.jsonl"}
        options = {"bootstrap": 0, "permutations": 0, "projections": ["pca"]}
        summary = analyze_files(records, given, folder, tmp_path / "out", options=options)
        assert summary["common_rows"] == 40
        assert summary["systems"]["some"]["counts"]["no_answer"] == 20
        assert summary["systems"]["odd"]["overall"]["rows"] == 40


class TestFigure:
    @pytest.fixture(scope="class", params=["labels of methods", "long names"])
    def drawn(self, tmp_path_factory, request):
        """The figure of six methods, three projections."""
        methods = ["base", "cot", "sft", "bucketsft", "dpo", "hdpo"]
        generator, folder, kept = np.random.default_rng(2), tmp_path_factory.mktemp("figure"), []
        pictures = [
            Projection(name, generator.normal(0, 1, (7 * 50, 2)) * [3, 1], axes)
            for name, axes in (("pca", ("PC1 (30%)", "PC2 (12%)")), ("tsne", ("", "")), ("umap", ("", "")))
        ]
        systems = {
            name: Drawn(METHOD_LABELS[name], "AUC 0.97", *look, np.arange(50) + 50 * (place + 1))
            for place, (name, look) in enumerate(looks(methods).items())
        }
        if request.param == "long names":
            systems = {
                name: replace(each, label=f"Thirty-billion {each.label}") for name, each in systems.items()
            }
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                plot, "save", lambda figure, *files: kept.append(figure) or style.save(figure, *files)
            )
            plot.draw_embeddings(
                pictures, np.arange(50), systems, "English: answers", folder / "a.png", folder / "a.pdf"
            )
        return kept[0]

    def test_everything_is_inside_the_frame(self, drawn):
        box, (width, height) = drawn.get_tightbbox(), drawn.get_size_inches()
        assert min(box.x0, box.y0) >= 0
        assert box.x1 <= width
        assert box.y1 <= height

    def test_every_system_has_a_panel_in_each_projection_and_all_share_one(self, drawn):
        titles = [axes.get_title(loc="left") for axes in drawn.axes]
        assert titles[:7] * 3 == titles
        for title, label in zip(titles, [*METHOD_LABELS.values(), "All"], strict=False):
            assert title.endswith(label)
            assert len(title) <= 22
        shown = [len(axes.collections) for axes in drawn.axes]
        # Shading and human dots, then the systems.
        assert shown == ([3] * 6 + [8]) * 3

    def test_titles_and_axes_do_not_run_into_each_other(self, drawn):
        renderer = drawn.canvas.get_renderer()
        boxes = []
        for axes in drawn.axes:
            texts = [
                *(getattr(axes, name) for name in ("title", "_left_title", "_right_title")),
                axes.xaxis.label,
                *axes.texts,
            ]
            boxes += [text.get_window_extent(renderer) for text in texts if text.get_text()]
        for one, other in itertools.combinations(boxes, 2):
            assert not one.overlaps(other)


def test_cells_stand_in_table_order_and_others_as_they_came():
    cells = ["en_hdpo_b", "mine", "en_base_b", "en_sft_a"]
    assert in_table_order(cells, ["a", "b"]) == ["en_sft_a", "en_base_b", "en_hdpo_b", "mine"]


def test_unknown_systems_take_colours_that_are_free():
    found = looks(["sft", "mine", "theirs"])
    assert found["sft"][0] == COLOURS["sft"]
    assert len({colour for colour, _ in found.values()}) == 3


def test_a_page_of_cells_groups_them_by_model(analyzed, tmp_path):
    _, summary = analyzed
    systems = dict.fromkeys(("en_hdpo_one", "en_sft_one", "en_sft_two"), summary["systems"]["odd"])
    built = build_embeddings({**summary, "systems": systems}, tmp_path, models=["two", "one"])
    assert built["systems"] == ["en_sft_two", "en_sft_one", "en_hdpo_one"]
    lines = [line for line in (tmp_path / "embeddings_en.md").read_text().splitlines() if "| HDPO" in line]
    assert len(lines) == 4


class TestCommand:
    def call(self, monkeypatch, capsys, *arguments):
        monkeypatch.setattr(sys, "argv", ["polyalign", "embeddings", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            polyalign.cli.main()
        return left.value.code, capsys.readouterr().err

    def test_it_writes_everything_and_keeps_vectors_where_asked_to(
        self, world, folder, tmp_path, monkeypatch, capsys
    ):
        records, predictions = world
        code, said = self.call(
            monkeypatch, capsys, "--records", records, "--predictions", f"a={predictions['same']}", predictions["odd"],
            "--encoder", folder, "--out", tmp_path / "out", "--projection", "pca", "--bootstrap", "20",
            "--cache", tmp_path / "cache", "--rows", "40",
        )  # fmt: skip
        assert code == 0, said
        assert re.search(r"^odd: AUC [01]\.\d{3} \[", said, flags=re.MULTILINE)
        assert "40 rows in common" in said
        assert set(read_json(tmp_path / "out/summary.json")["systems"]) == {"a", "odd"}
        assert {path.name for path in (tmp_path / "out").iterdir()} == {
            *(f"embeddings.{kind}" for kind in ("png", "pdf", "html")),
            *(f"embeddings_en.{kind}" for kind in ("md", "html", "tex", "csv")),
            *("coordinates.parquet", "summary.json"),
        }
        digests = [read_table(file, ["digest"]).num_rows for file in (tmp_path / "cache").rglob("*.parquet")]
        assert sum(digests) > 60

    @pytest.mark.parametrize(
        "change, said",
        [
            ({"--predictions": "human={same}"}, "a system cannot be called 'human'"),
            ({"--predictions": "en_hdporef_tiny={same}"}, "saw the reference answer"),
            ({"--predictions": "{records}.gone"}, "file not found"),
            ({"--predictions": "{broken}"}, "source_index"),
            ({"--records": "{records}.gone"}, "file not found"),
            ({"--encoder": "{empty}"}, "no encoder model here"),
            ({"--rows": "4"}, "4 rows are answered by humans and by every system"),
        ],
    )
    def test_bad_input_is_one_line_and_leaves_nothing(
        self, world, folder, tmp_path, monkeypatch, capsys, change, said
    ):
        records, predictions = world
        (tmp_path / "empty").mkdir()
        (tmp_path / "broken.jsonl").write_text(json.dumps({"source_index": -1, "prediction": "w1"}) + "\n")
        places = {
            "same": predictions["same"], "records": records,
            "broken": tmp_path / "broken.jsonl", "empty": tmp_path / "empty",
        }  # fmt: skip
        given = {"--records": "{records}", "--predictions": "{same}", "--encoder": str(folder)} | change
        arguments = [part.format(**places) for pair in given.items() for part in pair]
        code, told = self.call(monkeypatch, capsys, *arguments, "--out", tmp_path / "out")
        assert code == 2
        assert said in told
        assert "Traceback" not in told
        assert not (tmp_path / "out").exists()
