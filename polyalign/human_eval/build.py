"""Build the pages of a human evaluation: sample, blinding, and one self-contained HTML file a mode.

    build_sites("test.parquet", {"en_sft_tiny": "sft.jsonl", "en_hdpo_tiny": "hdpo.jsonl"}, "out", language="en")

writes

    out/site/{mode}.html   the page, to be opened from disk or any static server; all that annotators may get
    out/sample.jsonl       the drawn prompts with every system's answer
    out/key.json           which answer is whose, for `summarize`

The page's sources are in resources/human_eval. They are put into one file, because browsers load no module from a
file:// address. A content security policy lets only these scripts run and lets none of them reach a network.
"""

import base64
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from polyalign.digest import ROOT
from polyalign.files import StrPath, dump_json, made_folder, write_json, write_jsonl, write_text
from polyalign.human_eval.blind import build_site
from polyalign.human_eval.sample import draw_prompts
from polyalign.human_eval.settings import KEY_KIND, VERSION, HumanEvalSettings
from polyalign.settings import read_settings

SOURCES = ROOT / "resources" / "human_eval"
SCRIPTS = ("texts.js", "store.js", "view.js", "app.js")
"""In the order they are run; each defines one name."""

# "</script>" and "<!--" would end or confuse the element; the other two end a line in old JavaScript.
_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def embed_json(value: Any) -> str:
    """JSON that may stand in a script element, whatever its texts hold."""
    return re.sub("[<>&\u2028\u2029]", lambda match: _ESCAPES[match[0]], dump_json(value))


def source_digest() -> str:
    """Digest of the page's sources."""
    whole = hashlib.sha256()
    for name in ("page.html", "style.css", *SCRIPTS):
        whole.update((SOURCES / name).read_bytes())
    return whole.hexdigest()


def _policy_hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def render_page(data: Mapping[str, Any]) -> str:
    """The whole page as HTML with style, scripts and data inside."""
    style = (SOURCES / "style.css").read_text(encoding="utf-8")
    scripts = [(SOURCES / name).read_text(encoding="utf-8") for name in SCRIPTS]
    policy = [
        "default-src 'none'",
        f"style-src {_policy_hash(style)}",
        f"script-src {' '.join(map(_policy_hash, scripts))}",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    parts = {
        "policy": "; ".join(policy),
        "language": data["language"],
        "style": f"<style>{style}</style>",
        "data": f'<script type="application/json" id="data">{embed_json(data)}</script>',
        "scripts": "\n".join(f"<script>{text}</script>" for text in scripts),
    }
    page = (SOURCES / "page.html").read_text(encoding="utf-8")
    # One pass: a text of the data that looks like a marker stays what it is.
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], page)


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
    pages = {mode: render_page(data) for mode, (data, _) in built.items()}
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
