"""Stand-in corpora for the demo: generated text in the raw file layout of the real corpora.

Everything downstream reads these files as it reads the real ones. See docs/demo.md.
"""

from pathlib import Path

from polyalign.demo import chinese_sources as zh
from polyalign.demo import english_sources as en
from polyalign.demo import english_web_sources as web
from polyalign.errors import BadInput
from polyalign.files import StrPath, atomic_directory

WRITERS = {
    "dolly": en.write_dolly,
    "squad_v2": en.write_squad,
    "coqa": en.write_coqa,
    "dailydialog": en.write_dailydialog,
    "multiwoz": en.write_multiwoz,
    "ms_marco": web.write_ms_marco,
    "eli5_category": web.write_eli5,
    "natural_questions": web.write_natural_questions,
    "cmrc2018": zh.write_cmrc,
    "drcd": zh.write_drcd,
    "coig_cqia": zh.write_cqia,
    "oasst2_zh": zh.write_oasst2,
}
SHARES = {
    "dolly": 5.2,
    "squad_v2": 0.35,
    "coqa": 0.45,
    "dailydialog": 2.0,
    "multiwoz": 0.45,
    "ms_marco": 0.35,
    "eli5_category": 0.8,
    "natural_questions": 0.45,
    "cmrc2018": 0.5,
    "drcd": 0.3,
    "coig_cqia": 6.6,
    "oasst2_zh": 2.0,
}
"""Records of a corpus for each row asked for. The hashed corpora give 5% to test and need more to fill its buckets."""
SMALLEST = 40
"""Fewer records than this cannot fill every split of every layout."""


def write_demo_source(dataset: str, out_dir: StrPath, rows: int, seed: int) -> None:
    """Write the demo version of one corpus as the raw files of its official layout.

    Args:
        dataset: a key of `WRITERS`.
        out_dir: folder of the raw files; replaced as a whole when everything is written.
        rows: size; the corpus gets about `rows` times its entry in `SHARES` records.
        seed: the same seed, dataset and rows give the same bytes.

    Raises:
        BadInput: no demo version of `dataset` exists.
    """
    if dataset not in WRITERS:
        raise BadInput(
            f"corpus {dataset!r} has no demo version",
            expected=f"one of {', '.join(WRITERS)}",
            fix="take it out of `corpora` or set sources.kind to hub or mirror",
        )
    with atomic_directory(out_dir) as folder:
        WRITERS[dataset](Path(folder), max(SMALLEST, round(rows * SHARES[dataset])), seed)
