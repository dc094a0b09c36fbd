"""Build the pages of a human evaluation: sample, blinding, and one self-contained HTML file a mode.

    build_sites("test.parquet", {"en_sft_tiny": "sft.jsonl", "en_hdpo_tiny": "hdpo.jsonl"}, "out", language="en")

writes

    out/site/{mode}.html   the page, to be opened from disk or any static server; all that annotators may get
    out/sample.jsonl       the drawn prompts with every system's answer
    out/key.json           which answer is whose, for `summarize`

The page's sources are in resources/human_eval; `polyalign.web_page` puts them into one file.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from polyalign.digest import ROOT
from polyalign.files import StrPath, made_folder, write_json, write_jsonl, write_text
from polyalign.human_eval.blind import build_site
from polyalign.human_eval.sample import draw_prompts
from polyalign.human_eval.settings import KEY_KIND, VERSION, HumanEvalSettings
from polyalign.settings import read_settings
from polyalign.web_page import render_page, source_digest

SOURCES = ROOT / "resources" / "human_eval"
SCRIPTS = ("texts.js", "store.js", "view.js", "app.js")
"""In the order they are run; each defines one name."""


def page_digest() -> str:
    """Digest of the page's sources."""
    return source_digest(SOURCES, SCRIPTS)


def build_sites(
    records: StrPath,
    predictions: Mapping[str, StrPath],
    out_dir: StrPath,
    *,
    language: str,
    settings: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write the pages, the sample and the key.

    Args:
        records: records of the split, Parquet or JSONL.
        predictions: prediction files by the system's name.
        settings: values of `HumanEvalSettings`.

    Returns:
        Details for the manifest: prompts, systems, and by mode the site's id and its items.

    Raises:
        BadInput, BadInputs: broken input; nothing is written then.
    """
    chosen = read_settings(HumanEvalSettings, settings or {}, file="settings", docs="docs/config.md")
    prompts = draw_prompts(
        records, predictions, per_length_bin=chosen.prompts_per_length_bin, seed=chosen.seed
    )
    built = {mode: build_site(prompts, mode, language, chosen) for mode in dict.fromkeys(chosen.modes)}
    key = {
        "kind": KEY_KIND,
        "version": VERSION,
        "language": language,
        "seed": chosen.seed,
        "prompts": [
            {"source_index": prompt.source_index}
            | {name: prompt.record[name] for name in ("id", "dataset", "length_bin")}
            for prompt in prompts
        ],
        "sites": {data["site"]: part for data, part in built.values()},
    }
    words = {"language": language}
    pages = {mode: render_page(SOURCES, SCRIPTS, data, words) for mode, (data, _) in built.items()}
    out = Path(out_dir)
    with made_folder(out):
        write_jsonl(out / "sample.jsonl", (prompt.row() for prompt in prompts))
        write_json(out / "key.json", key)
        for mode, page in pages.items():
            write_text(out / "site" / f"{mode}.html", page)
    return {
        "language": language,
        "prompts": len(prompts),
        "systems": list(predictions),
        "sites": {
            mode: {"site": data["site"], "items": len(data["items"])} for mode, (data, _) in built.items()
        },
    }
