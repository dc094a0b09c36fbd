"""The tools behind each feature set: what they are, which version, and how to get one that is missing.

`paper-v1` needs NLTK and its data, as the published system; `core-v1` needs Python packages alone. A tool that is
missing is an error with the command that gets it; no feature is ever filled with zeros instead.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Any

import numpy as np

from polyalign.errors import PolyAlignError
from polyalign.features import nltk_data, nltk_tools
from polyalign.features.core_tagging import C5_CLASSES, HantaTagger, jieba_class
from polyalign.features.grammar import Tags
from polyalign.features.names import check_feature_set
from polyalign.features.sentiment import PackageSentiment, Polarity
from polyalign.features.tokens import (
    CJK_TOKENS,
    LEXICAL,
    WordTokenizer,
    cjk_sentences,
    has_cjk,
    rule_sentences,
)
from polyalign.features.units import SplitText, Units
from polyalign.slim_import import slim_import

# Feature group -> the package of NLTK data whose content decides its answers.
_NLTK_DATA = {
    "sentences": "punkt_tab",
    "tags": "averaged_perceptron_tagger_eng",
    "universal tags": "universal_tagset",
    "stop words": "stopwords",
    "sentiment": "vader_lexicon",
}
_CORE_PACKAGES = {
    "tokens": ("nltk", "nltk"),
    "tags": ("HanTa", "HanTa"),
    "Chinese words": ("jieba", "jieba"),
    "stop words": ("stopwordsiso", "stopwordsiso"),
    "sentiment": ("vaderSentiment", "vaderSentiment"),
}


@dataclass(frozen=True)
class Backend:
    """The tools of one feature set, loaded.

    Attributes:
        split_text: tokens and sentences of a text without CJK characters.
        split_chinese: tokens and sentences of a text with one.
        chinese_words: lexical words of such a text and its tokens.
        tag: tags of all tokens of a batch.
        stop_words: lower-case stop words among alphabetic words.
        chinese_stop_words: stop words among the others; empty where the set has none.
        polarity: VADER scores of a text that is not empty.
    """

    split_text: SplitText
    split_chinese: SplitText
    chinese_words: Callable[[str, list[str]], list[str]]
    tag: Callable[[Units], Tags]
    stop_words: frozenset[str]
    chinese_stop_words: frozenset[str]
    polarity: Callable[[str], Polarity]


def _package(module: str, package: str, feature_set: str) -> Any:
    try:
        return slim_import(module)
    except ImportError as error:
        raise PolyAlignError(
            f"feature set {feature_set} needs the Python package {package} ({error}); "
            f"get it with: python -m pip install {package}"
        ) from None


@cache
def backends(feature_set: str) -> dict[str, str]:
    """Group of features -> the tool that measures it, with version and, for NLTK data, the digest of its files.

    Raises:
        BadInput: no such feature set.
        PolyAlignError: a package or data file is missing; the message gives the command that gets it.
    """
    check_feature_set(feature_set)
    if feature_set == "core-v1":
        for module, package in _CORE_PACKAGES.values():
            _package(module, package, feature_set)
        tools = {group: f"{package} {version(package)}" for group, (_, package) in _CORE_PACKAGES.items()}
        return {**tools, "sentences": "polyalign rules 1"}
    _package("nltk", "nltk", feature_set)
    tools = {"tokens": f"nltk {version('nltk')}"}
    for group, package in _NLTK_DATA.items():
        nltk_data.read_package(package)
        tools[group] = f"nltk {version('nltk')}, {package} sha256:{nltk_data.package_digest(package)}"
    return tools


@cache
def load_backend(feature_set: str) -> Backend:
    """Load the tools of a feature set, once a process; raises as `backends` does."""
    backends(feature_set)
    return _load_paper() if feature_set == "paper-v1" else _load_core()


def _load_paper() -> Backend:
    sentences_of = nltk_tools.sentence_tokenize()
    words_of = WordTokenizer(nltk_tools.word_tokenize())
    tagger = nltk_tools.load_tagger()
    universal = nltk_tools.universal_tags()
    classes = [(universal.get(label, "X"), label) for label in tagger.labels]

    def tokens_of(text: str) -> list[str]:
        if has_cjk(text):
            return CJK_TOKENS.findall(text)
        return [token for sentence in sentences_of(text) for token in words_of(sentence)]

    def split_text(text: str) -> tuple[list[str], list[tuple[str, int]]]:
        tokens: list[str] = []
        parts = []
        for sentence in sentences_of(text):
            words = words_of(sentence)
            tokens += words
            stripped = sentence.strip()
            # A sentence on its own is split again by the published rule; only an inner end mark can matter.
            again = any(mark in stripped[:-1] for mark in ".?!") or stripped != sentence
            parts.append((stripped, len(tokens_of(stripped)) if again else len(words)))
        return tokens, [part for part in parts if part[0]]

    def split_chinese(text: str) -> tuple[list[str], list[tuple[str, int]]]:
        parts = [(sentence, len(tokens_of(sentence))) for sentence in cjk_sentences(text)]
        return CJK_TOKENS.findall(text), parts

    def tag(units: Units) -> Tags:
        tokens = units.tokens
        return Tags(tagger.tag(tokens.vocabulary, tokens.ids, tokens.offsets), classes)

    return Backend(
        split_text=split_text,
        split_chinese=split_chinese,
        chinese_words=lambda text, tokens: LEXICAL.findall(text),
        tag=tag,
        stop_words=nltk_tools.english_stop_words(),
        chinese_stop_words=frozenset(),
        polarity=nltk_tools.load_sentiment(),
    )


@cache
def _jieba() -> tuple[Callable[[str], list[str]], dict[str, str]]:
    """jieba's word splitter and its dictionary of tags; loading takes about a second, so only Chinese text does.

    The splitter is given the dictionary that jieba ships. By itself it would take whatever stands in a cache in the
    folder for temporary files, where other versions and other users write, too.
    """
    jieba = importlib.import_module("jieba")
    with jieba.dt.get_dict_file() as handle:
        fields = handle.read().decode("utf-8").replace("\n", " ").split(" ")
    # A line is a word, its frequency and its tag.
    words, frequencies = fields[0::3], [int(count) for count in fields[1::3]]
    beginnings = {word[:end] for word in words for end in range(1, len(word))}
    jieba.dt.FREQ = {**dict.fromkeys(beginnings, 0), **dict(zip(words, frequencies, strict=False))}
    jieba.dt.total = sum(frequencies)
    jieba.dt.initialized = True
    return jieba.lcut, dict(zip(words, fields[2::3], strict=False))


def _load_core() -> Backend:
    words_of = WordTokenizer(nltk_tools.word_tokenize())
    lists = importlib.import_module("stopwordsiso")
    hanta = importlib.import_module("HanTa.HanoverTagger")
    tagger = HantaTagger(hanta.HanoverTagger("morphmodel_en.pgz"))
    vader = importlib.import_module("vaderSentiment.vaderSentiment")

    def split_text(text: str) -> tuple[list[str], list[tuple[str, int]]]:
        tokens: list[str] = []
        parts = []
        for sentence in rule_sentences(text):
            words = words_of(sentence)
            tokens += words
            parts.append((sentence, len(words)))
        return tokens, parts

    def split_chinese(text: str) -> tuple[list[str], list[tuple[str, int]]]:
        cut, _ = _jieba()
        tokens: list[str] = []
        parts = []
        for sentence in cjk_sentences(text):
            words = [word for word in cut(sentence) if not word.isspace()]
            tokens += words
            parts.append((sentence, len(words)))
        return tokens, parts

    return Backend(
        split_text=split_text,
        split_chinese=split_chinese,
        chinese_words=lambda text, tokens: [token for token in tokens if any(map(str.isalnum, token))],
        tag=lambda units: _core_tags(units, tagger),
        stop_words=frozenset(lists.stopwords("en")),
        chinese_stop_words=frozenset(lists.stopwords("zh")),
        polarity=PackageSentiment(vader.SentimentIntensityAnalyzer(), vader.BOOSTER_DICT),
    )


def _core_tags(units: Units, tagger: HantaTagger) -> Tags:
    """Sentences of Chinese texts by jieba's dictionary, the others by HanTa."""
    numbers: dict[tuple[str, str], int] = {}
    ids: list[int] = []
    vocabulary = units.tokens.vocabulary
    start = 0
    for owner, size in zip(units.sentences.owner, units.sentences.tokens, strict=True):
        words = [vocabulary[number] for number in units.tokens.ids[start : start + size]]
        start += size
        if units.chinese[owner]:
            _, dictionary = _jieba()
            classes = [jieba_class(dictionary.get(word, "x")) for word in words]
        else:
            classes = [C5_CLASSES.get(tag, ("X", "")) for tag in tagger(words)]
        ids += [numbers.setdefault(entry, len(numbers)) for entry in classes]
    return Tags(np.array(ids, dtype=np.int64), list(numbers))
