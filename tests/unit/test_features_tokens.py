"""Tokenizers, sentence rules, tagging and sentiment: equal to the tools they speed up."""

import random

import numpy as np
import pytest

from polyalign.features.backends import load_backend
from polyalign.features.core_tagging import HantaTagger, jieba_class
from polyalign.features.perceptron import BatchTagger
from polyalign.features.sentiment import PackageSentiment
from polyalign.features.tokens import WordTokenizer, cjk_sentences, rule_sentences
from polyalign.features.units import Strings

MARKS = "\" ' . .. ... , : ; -- ( ) `` '' ? ! $ * » ” ’ ‘ “ [ ] % & < > —"
WORDS = "a can cannot wanna. 't is 'tis n't d'ye 5 3. foo Bar 's é foo, cannot! gimme won't U.S. 3:15 1,000"
JOINED = "x-y. a-cannot no,3: e.g.- 1.5, 3:a -x"
PIECES = tuple(f"{MARKS} {WORDS} {JOINED}".split(" "))


def test_word_tokens_equal_nltks_on_odd_mixtures():
    from nltk.tokenize import NLTKWordTokenizer

    reference = NLTKWordTokenizer()
    ours = WordTokenizer(reference.tokenize)
    rng = random.Random(11)
    for _ in range(8_000):
        parts = [rng.choice(PIECES) + rng.choice(("", " ", " ", "\n")) for _ in range(rng.randint(1, 9))]
        sentence = "".join(parts).strip()
        assert ours(sentence) == reference.tokenize(sentence), sentence


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("", []),
        ("no end mark", ["no end mark"]),
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("Mr. Smith met J. R. Doe in the U.S. Army.", ["Mr. Smith met J. R. Doe in the U.S. Army."]),
        ("It cost 3.50 dollars. e.g. this one.", ["It cost 3.50 dollars. e.g. this one."]),
        ('He said "Stop!" Then he left.', ['He said "Stop!"', "Then he left."]),
        ("Title\n\nBody text here.", ["Title", "Body text here."]),
        ("Buy:\n- milk\n- bread", ["Buy:", "- milk", "- bread"]),
        ("a line\nthat goes on", ["a line\nthat goes on"]),
    ],
)
def test_sentences_by_rules(text, sentences):
    assert rule_sentences(text) == sentences


def test_a_long_text_without_spaces_is_split_in_reasonable_time():
    assert rule_sentences("x" * 200_000 + ". Y") == ["x" * 200_000 + ".", "Y"]


def test_chinese_sentences_keep_their_marks():
    assert cjk_sentences("好。真的？\n是；") == ["好。", "真的？", "是；"]


class RandomTagger:
    """A perceptron tagger with random weights over the features NLTK's has."""

    def __init__(self, rng: random.Random) -> None:
        from nltk.tag.perceptron import PerceptronTagger

        labels = ["NN", "VB", "DT", "JJ"]
        states = [*labels, "-START-", "-START2-"]
        words = ["dog", "runs", "red", "!YEAR", "!HYPHEN", "-START-", "-END-"]
        keys = ["bias"]
        for kind in ("i word", "i-1 word", "i-2 word", "i+1 word", "i+2 word"):
            keys += [f"{kind} {word}" for word in words]
        for kind in ("i suffix", "i-1 suffix", "i+1 suffix"):
            keys += [f"{kind} {word[-3:]}" for word in words]
        keys += [f"i-1 tag {one}" for one in states] + [f"i-2 tag {one}" for one in states]
        keys += [f"i tag+i-2 tag {one} {two}" for one in states for two in states]
        keys += [f"i-1 tag+i word {one} {word}" for one in states for word in words]
        # Few distinct weights, so that ties happen.
        weights = {
            key: {label: rng.choice((-0.5, 0.1, 0.2, 0.3)) for label in rng.sample(labels, 2)} for key in keys
        }
        self.tagger = PerceptronTagger(load=False)
        self.tagger.decode_json_params((weights, {"the": "DT"}, labels))


def test_batched_tags_equal_nltks_with_ties_and_fixed_words():
    rng = random.Random(5)
    vocabulary = ["the", "dog", "runs", "red", "1999", "well-known", "Odd", "x"]
    for _ in range(5):
        reference = RandomTagger(rng).tagger
        lists = [rng.choices(vocabulary, k=rng.randint(0, 12)) for _ in range(60)]
        strings = Strings.of(lists)
        ours = BatchTagger(reference)
        ids = ours.tag(strings.vocabulary, strings.ids, strings.offsets)
        found = [ours.labels[number] for number in ids]
        assert found == [tag for words in lists for _, tag in reference.tag(words)]


def test_hanta_tags_are_those_of_its_own_search():
    from HanTa.HanoverTagger import HanoverTagger

    reference = HanoverTagger("morphmodel_en.pgz")
    ours = HantaTagger(HanoverTagger("morphmodel_en.pgz"))
    for sentence in (
        "The quick brown fox jumps over the lazy dog .",
        "She was given a book that nobody had read",
        "Where would unbelievably flurbish gadgets go ?",
    ):
        assert ours(sentence.split()) == reference.tag_sent(sentence.split(), taglevel=0)
    assert ours([]) == []
    assert ours(["It", "cost", "1,234.50", "€"])[2:] == ["CRD", "PUN"]


def test_jieba_tags_map_to_universal_ones():
    assert [jieba_class(tag) for tag in ("v", "nr", "uj", "x", "")] == [
        ("VERB", ""),
        ("NOUN", "NNP"),
        ("PRT", ""),
        ("X", ""),
        ("X", ""),
    ]


def test_package_sentiment_equals_the_packages():
    from vaderSentiment import vaderSentiment as vader

    analyzer = vader.SentimentIntensityAnalyzer()
    ours = PackageSentiment(analyzer, vader.BOOSTER_DICT)
    rng = random.Random(2)
    words = [
        *list(analyzer.lexicon)[:4000:40],
        "not",
        "never",
        "so",
        "least",
        "at",
        "kind",
        "of",
        "but",
        "VERY",
        "very",
    ]
    words += ["GOOD", "no!", '"good"', "Bad,", "great!!", "the", "bomb", "without", "doubt", "don't", "😀"]
    for _ in range(4000):
        text = " ".join(rng.choices(words, k=rng.randint(1, 12)))
        expected = analyzer.polarity_scores(text)
        assert ours(text) == tuple(expected[key] for key in ("neg", "neu", "pos", "compound")), text


def test_tokens_of_a_batch_keep_their_texts_apart():
    backend = load_backend("core-v1")
    tokens, parts = backend.split_text("One two. Three!")
    assert tokens == ["One", "two", ".", "Three", "!"]
    assert parts == [("One two.", 3), ("Three!", 2)]
    strings = Strings.of([["a", "b"], [], ["b"]])
    assert strings.lengths.tolist() == [2, 0, 1]
    assert strings.total(np.ones(3)).tolist() == [2, 0, 1]
