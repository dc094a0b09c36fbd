"""What must never happen: code run from data or models, archives that break out, shells built from data, markup from
texts. Most of it is read from the syntax trees, so that a new module cannot bring it in unseen."""

import ast
import gzip
import json
import pickle
import re
import stat
import tracemalloc
import zipfile
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from model_families import save_model

from polyalign import archives
from polyalign.archives import member_names, open_zip, read_member
from polyalign.corpora import source
from polyalign.errors import BadInput
from polyalign.features.scorer import load_scorer
from polyalign.files import write_json
from polyalign.model_folders import check_modules, load_config, load_weights
from polyalign.settings import read_yaml
from polyalign.tables.html import to_html
from polyalign.tables.model import Column, Page, Row, Table, Value
from polyalign.workflow.licences_page import EXCEPTIONS, is_allowed, licences_page, packages

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted([*(ROOT / "polyalign").rglob("*.py"), *(ROOT / "workflow_scripts").glob("*.py")])
SMK = [ROOT / "Snakefile", *sorted((ROOT / "rules").glob("*.smk"))]


def name_of(file: Path) -> str:
    return str(file.relative_to(ROOT))


def calls() -> Iterator[tuple[str, str, ast.Call]]:
    """(file, dotted name of what is called, the call) of all code of the project."""
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                yield name_of(file), ast.unparse(node.func), node


CALLS = list(calls())


def keyword(call: ast.Call, name: str) -> object:
    """Constant value of a keyword argument; None where there is none."""
    values = [k.value for k in call.keywords if k.arg == name]
    return (
        values[0].value if values and isinstance(values[0], ast.Constant) else (values[0] if values else None)
    )


def imports() -> Iterator[tuple[str, str]]:
    """(file, module) of every import."""
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((name_of(file), alias.name.split(".")[0]) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield name_of(file), node.module.split(".")[0]


class TestModels:
    def test_one_module_reads_model_folders(self):
        readers = {file for file, name, call in CALLS if name.endswith(".from_pretrained")}
        # peft puts adapters that were trained here onto a model that is loaded already.
        assert readers == {"polyalign/model_folders.py", "polyalign/training/models.py"}
        adapters = {
            name
            for file, name, _ in CALLS
            if file.endswith("training/models.py") and name.endswith("from_pretrained")
        }
        assert adapters == {"PeftModel.from_pretrained"}

    def test_no_call_trusts_the_code_of_a_model(self):
        for file in [*FILES, *SMK]:
            for line in file.read_text(encoding="utf-8").splitlines():
                if re.search(r"trust.remote.code", line):
                    assert file.name == "model_folders.py", name_of(file)
                    assert '"trust_remote_code": False' in line

    def test_code_that_a_model_brings_along_is_not_run(self, tmp_path):
        folder = save_model(tmp_path / "model")
        ran = tmp_path / "ran"
        (folder / "modeling_evil.py").write_text(f"open({str(ran)!r}, 'w')\nclass Evil: pass\n")
        config = json.loads((folder / "config.json").read_text())
        classes = {"AutoConfig": "modeling_evil.Evil", "AutoModelForCausalLM": "modeling_evil.Evil"}
        (folder / "config.json").write_text(json.dumps({**config, "auto_map": classes}))
        load_weights("AutoModelForCausalLM", folder)
        (folder / "config.json").write_text(json.dumps({**config, "auto_map": classes, "model_type": "evil"}))
        with pytest.raises(ValueError, match="trust_remote_code"):
            load_config(folder)
        assert not ran.exists()

    def test_pickled_weights_are_refused_unread(self, tmp_path):
        folder = save_model(tmp_path / "model")
        ran = tmp_path / "ran"

        class Bomb:
            def __reduce__(self):
                return (open, (str(ran), "w"))

        (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))
        for weights in folder.glob("*.safetensors"):
            weights.unlink()
        with pytest.raises(BadInput, match=r"no safetensors.*pytorch_model\.bin is a pickle"):
            load_scorer(folder, max_length=32)
        assert not ran.exists()

    def test_classes_that_an_encoder_brings_along_are_refused(self, tmp_path):
        """sentence-transformers imports what modules.json names from the folder itself, trusted or not."""
        check_modules(tmp_path)
        modules = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}]
        write_json(tmp_path / "modules.json", modules)
        check_modules(tmp_path)
        write_json(tmp_path / "modules.json", [*modules, {**modules[0], "idx": 1, "type": "evil.Evil"}])
        with pytest.raises(BadInput, match=r"modules\.json, field 'type': evil\.Evil is code from elsewhere"):
            check_modules(tmp_path)

    def test_only_our_own_state_is_read_by_torch_and_without_objects(self):
        loads = [(file, keyword(call, "weights_only")) for file, name, call in CALLS if name == "torch.load"]
        assert loads == [("polyalign/critic/train.py", True)]

    def test_nothing_unpickles_or_evaluates(self):
        wrong = [
            pair
            for pair in imports()
            if pair[1] in ("pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal")
        ]
        wrong += [
            (file, name)
            for file, name, call in CALLS
            if name in ("eval", "exec", "compile", "yaml.unsafe_load", "pd.read_pickle")
            or (name == "yaml.load" and file != "polyalign/settings.py")
            or (name == "np.load" and keyword(call, "allow_pickle") is not None)
        ]
        assert wrong == []

    def test_yaml_makes_plain_values_alone(self, tmp_path):
        ran = tmp_path / "ran"
        (tmp_path / "a.yaml").write_text(f"key: !!python/object/apply:pathlib.Path.touch [{ran}]\n")
        with pytest.raises(BadInput, match=r"a\.yaml: not valid YAML .*could not determine a constructor"):
            read_yaml(tmp_path / "a.yaml")
        assert not ran.exists()


class TestArchives:
    def test_one_module_opens_them_and_nothing_is_unpacked(self):
        openers = {file for file, module in imports() if module in ("zipfile", "tarfile", "py7zr", "rarfile")}
        # The demo writes zips.
        assert openers == {"polyalign/archives.py", "polyalign/demo/english_sources.py"}
        unpacking = [(f, n) for f, n, _ in CALLS if re.search(r"\.(extract|extractall|unpack_archive)$", n)]
        assert unpacking == []

    @pytest.mark.parametrize(
        "name", ["../out.txt", "a/../../out.txt", "/etc/out.txt", "C:/out.txt", "..\\out.txt"]
    )
    def test_names_that_lead_outside_are_refused(self, tmp_path, name):
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.writestr(name, "x")
        with open_zip(tmp_path / "a.zip", "-") as opened, pytest.raises(BadInput, match="points outside"):
            member_names(opened)

    def test_a_link_is_read_as_the_text_it_is(self, tmp_path):
        secret = tmp_path / "secret.txt"
        secret.write_text("secret")
        link = zipfile.ZipInfo("link.txt")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.writestr(link, str(secret))
        with open_zip(tmp_path / "a.zip", "-") as opened:
            assert read_member(opened, "link.txt") == str(secret).encode()
        assert {path.name for path in tmp_path.iterdir()} == {"a.zip", "secret.txt"}

    def test_a_bomb_is_refused_before_it_unpacks(self, tmp_path, monkeypatch):
        monkeypatch.setattr(archives, "MOST_BYTES", 1 << 20)
        with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("bomb.txt", b"0" * (1 << 22))
        assert (tmp_path / "a.zip").stat().st_size < 1 << 13
        with (
            open_zip(tmp_path / "a.zip", "-") as opened,
            pytest.raises(BadInput, match="unpacks to 4,194,304 bytes"),
        ):
            read_member(opened, "bomb.txt")

    def test_a_bomb_that_lies_about_its_size_breaks_off(self, tmp_path):
        with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("bomb.txt", b"0" * (1 << 20))
        whole = (tmp_path / "a.zip").read_bytes()
        (tmp_path / "a.zip").write_bytes(
            whole.replace((1 << 20).to_bytes(4, "little"), (100).to_bytes(4, "little"))
        )
        with (
            pytest.raises(BadInput, match="broken zip"),
            open_zip(tmp_path / "a.zip", "get it again") as opened,
        ):
            read_member(opened, "bomb.txt")

    def test_a_gzip_bomb_breaks_off_long_before_its_end(self, tmp_path, monkeypatch):
        monkeypatch.setattr(source, "_BLOCK", 1 << 12)
        monkeypatch.setattr(source, "_LONGEST_ITEM", 1 << 14)
        with gzip.open(tmp_path / "a.json.gz", "wt") as handle:
            handle.write('[{"title": "' + "0" * (1 << 24) + '"}]')
        tracemalloc.start()
        with pytest.raises(BadInput, match="not valid JSON"):
            list(source.Source(tmp_path, "eli5_category").gzipped_array("a.json.gz"))
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
        tracemalloc.stop()


class TestShells:
    def test_no_command_goes_through_a_shell(self):
        wrong = []
        for file, name, call in CALLS:
            started = re.fullmatch(r"subprocess\.(run|Popen|call|check_call|check_output)", name)
            if re.fullmatch(r"os\.(system|popen|spawn\w+)|subprocess\.get\w*output|pty\.spawn", name) or (
                started
                and (
                    keyword(call, "shell") is not None
                    or isinstance(call.args[0], (ast.Constant, ast.JoinedStr))
                )
            ):
                wrong.append((file, name))
        assert wrong == []

    def test_rules_quote_what_they_put_into_a_shell(self):
        for file in SMK:
            text = file.read_text(encoding="utf-8")
            assert not re.search(r"os\.system|subprocess|shell\(", text), name_of(file)
            for block in re.findall(r"^( +)shell:\n((?:\1 .*\n)+)", text, flags=re.MULTILINE):
                unquoted = [part for part in re.findall(r"\{([^{}]+)\}", block[1]) if not part.endswith(":q")]
                assert unquoted == [], f"{name_of(file)}: quote with :q"


HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>' onload='alert(3)\" onclick=\"alert(4)&amp;"


class Tags(HTMLParser):
    """Tags and attributes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data):
        self.text += data


class TestPages:
    def test_texts_cannot_become_markup(self, tmp_path):
        figure = tmp_path / "figure.png"
        figure.write_bytes(b"\x89PNG")
        columns = [Column("a", HOSTILE, 1, detail=HOSTILE), Column("b", HOSTILE, words=True)]
        values = {"a": Value(0.5, 0.1, 0.9, True, 0.01, 0.02, HOSTILE, "good"), "b": Value(text=HOSTILE)}
        rows = [Row(model, HOSTILE, HOSTILE, values, HOSTILE) for model in (HOSTILE, "other")]
        tables = [
            Table(f"{HOSTILE}{number}", HOSTILE, columns, rows, HOSTILE, HOSTILE, [HOSTILE])
            for number in range(4)
        ]
        page = Page("main", HOSTILE, "en", tables, HOSTILE, [HOSTILE])
        seen = Tags()
        seen.feed(to_html(page, {HOSTILE: figure}))
        assert not seen.tags & {"script", "iframe", "object", "embed", "form", "link", "base"}
        assert not {name for name in seen.attributes if name.startswith("on")}
        assert seen.text.count("<script>alert(1)</script>") > 20

    def test_only_two_modules_write_html(self):
        writers = set()
        for file in FILES:
            tree = ast.parse(file.read_text(encoding="utf-8"))
            strings = [
                node.value
                for node in ast.walk(tree)
                if isinstance(node, ast.Constant) and isinstance(node.value, str)
            ]
            if any(re.search(r"<(html|head|body|td|div|script|svg)[\s>]", text) for text in strings):
                writers.add(name_of(file))
        # Pages of one file put texts in as JSON; tests/unit/test_human_eval.py and test_embeddings.py attack them.
        assert writers == {
            "polyalign/tables/html.py",
            "polyalign/web_page.py",
            "polyalign/workflow/architecture_picture.py",
        }


class TestLicences:
    def test_every_locked_package_may_be_used(self):
        assert [package.problem for package in packages() if package.problem] == []

    def test_no_exception_outlives_its_package(self):
        needed = {package.name for package in packages() if not is_allowed(package.licence)}
        assert needed == set(EXCEPTIONS)

    def test_the_page_is_what_is_installed(self):
        page = (ROOT / "docs/licences.md").read_text(encoding="utf-8")
        assert page == licences_page(), "run `python -m polyalign.workflow.licences_page`"

    @pytest.mark.parametrize(
        "expression, allowed",
        [
            ("MIT", True),
            ("MPL-2.0 AND MIT", True),
            ("GPL-3.0-only OR MIT", True),
            ("GPL-3.0-only AND MIT", False),
            ("AGPL-3.0-only", False),
            ("unknown", False),
            ("MPL-2.0 AND (Apache-2.0 OR MIT)", True),
        ],
    )
    def test_expressions(self, expression, allowed):
        assert is_allowed(expression) is allowed
