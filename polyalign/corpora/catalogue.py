"""The table of corpora: what each one is, which splits it has and who reads it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from polyalign.corpora.conversations import read_coqa, read_dailydialog, read_multiwoz
from polyalign.corpora.forums import read_eli5_category, read_hc3_chinese
from polyalign.corpora.instructions import read_coig_cqia, read_dolly
from polyalign.corpora.reading import read_cmrc2018, read_drcd, read_dureader, read_squad_v2
from polyalign.corpora.search import read_ms_marco, read_natural_questions
from polyalign.corpora.source import Draft, Source
from polyalign.corpora.trees import read_oasst2_zh
from polyalign.errors import BadInput

Reader = Callable[[Source], Iterator[Draft]]


@dataclass(frozen=True)
class Corpus:
    """One row of the table of docs/method.md, Corpora.

    Attributes:
        hub: the hub repository the corpus is named after.
        splits: the splits it has, in the order they are written.
        policy: how the official splits become ours, in words, for manifests.
        config: the configuration of the hub repository, where it has several.
    """

    hub: str
    language: str
    track: str
    family: str
    style_bucket: str
    reader: Reader
    splits: tuple[str, ...]
    policy: str
    config: str | None = None


_ALL = ("train", "dev", "test")
_LOCAL = "local deterministic 90/5/5 split"

CORPORA: dict[str, Corpus] = {
    "dolly": Corpus(
        "databricks/databricks-dolly-15k",
        *("en", "single", "assistant", "assistant_like"),
        reader=read_dolly,
        splits=_ALL,
        policy=f"{_LOCAL} on instruction, response and category",
    ),
    "ms_marco": Corpus(
        "microsoft/ms_marco",
        *("en", "single", "qa", "qa_search"),
        reader=read_ms_marco,
        splits=_ALL,
        policy="official splits, validation as dev",
        config="v1.1",
    ),
    "coqa": Corpus(
        "stanfordnlp/coqa",
        *("en", "multi", "qa", "qa_search"),
        reader=read_coqa,
        splits=_ALL,
        policy="official train 90/10 by story into train and dev, official validation as test",
    ),
    "eli5_category": Corpus(
        "rexarski/eli5_category",
        *("en", "single", "qa", "longform_qa"),
        reader=read_eli5_category,
        splits=("train", "dev", "validation2", "test"),
        policy="official splits, validation1 as dev, validation2 kept apart",
    ),
    "squad_v2": Corpus(
        "rajpurkar/squad_v2",
        *("en", "single", "qa", "qa_search"),
        reader=read_squad_v2,
        splits=_ALL,
        policy="official train 90/10 by paragraph into train and dev, official validation as test",
    ),
    "natural_questions": Corpus(
        "sentence-transformers/natural-questions",
        *("en", "single", "qa", "qa_search"),
        reader=read_natural_questions,
        splits=_ALL,
        policy=f"{_LOCAL} on query and answer",
    ),
    "dailydialog": Corpus(
        "roskoN/dailydialog",
        *("en", "multi", "dialogue", "open_chat"),
        reader=read_dailydialog,
        splits=_ALL,
        policy="official splits, validation as dev; utterances alternate between user and assistant",
    ),
    "multiwoz": Corpus(
        "pfb30/multi_woz_v22",
        *("en", "multi", "dialogue", "task_dialogue"),
        reader=read_multiwoz,
        splits=_ALL,
        policy="official splits, system turns as targets",
    ),
    "coig_cqia": Corpus(
        "m-a-p/COIG-CQIA",
        *("zh", "single", "assistant", "assistant_like"),
        reader=read_coig_cqia,
        splits=_ALL,
        policy=f"{_LOCAL} on subset, instruction and output",
    ),
    "hc3_chinese": Corpus(
        "Hello-SimpleAI/HC3-Chinese",
        *("zh", "single", "qa", "longform_qa"),
        reader=read_hc3_chinese,
        splits=_ALL,
        policy=f"{_LOCAL} on source and question id",
        config="all",
    ),
    "oasst2_zh": Corpus(
        "OpenAssistant/oasst2",
        *("zh", "multi", "dialogue", "open_chat"),
        reader=read_oasst2_zh,
        splits=_ALL,
        policy="official train 90/10 by message tree into train and dev, official validation as test",
    ),
    "cmrc2018": Corpus(
        "hfl/cmrc2018",
        *("zh", "single", "qa", "qa_search"),
        reader=read_cmrc2018,
        splits=_ALL,
        policy="official splits, validation as dev",
    ),
    "drcd": Corpus(
        "voidful/DRCD",
        *("zh", "single", "qa", "qa_search"),
        reader=read_drcd,
        splits=_ALL,
        policy="official splits",
    ),
    "dureader": Corpus(
        "luozhouyang/dureader",
        *("zh", "single", "qa", "qa_search"),
        reader=read_dureader,
        splits=("train", "dev"),
        policy="official train and validation of checklist and robust as train and dev, no test",
    ),
}


def get_corpus(dataset: str) -> Corpus:
    """The corpus of that name; raises `BadInput` listing the known ones."""
    if dataset not in CORPORA:
        raise BadInput(f"unknown corpus {dataset!r}", expected=f"one of {', '.join(CORPORA)}")
    return CORPORA[dataset]
