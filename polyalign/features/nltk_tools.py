"""The tools of `paper-v1`: NLTK's tokenizers, tagger and sentiment analyzer, built from the pinned data.

They are built from the files' contents as `polyalign.features.nltk_data` hands them out, so that what was checked is
what is used. Their answers are NLTK's; polyalign.features.tokens, perceptron and sentiment only make them faster.
"""

import json
from collections import defaultdict
from typing import Any

from polyalign.features.nltk_data import read_package
from polyalign.features.perceptron import BatchTagger
from polyalign.features.sentiment import NltkSentiment
from polyalign.features.tokens import Tokenize
from polyalign.slim_import import slim_import

_JUDGED_LIMIT = 300_000


def word_tokenize() -> Tokenize:
    """NLTK's Treebank word tokenizer for one sentence; it needs no data."""
    return slim_import("nltk.tokenize").NLTKWordTokenizer().tokenize


def _punkt_parameters() -> Any:
    files = {name: content.decode() for name, content in read_package("punkt_tab").items()}
    parameters = slim_import("nltk.tokenize.punkt").PunktParameters()
    parameters.abbrev_types = set(files["abbrev_types.txt"].splitlines())
    parameters.sent_starters = set(files["sent_starters.txt"].splitlines())
    parameters.collocations = {tuple(line.split("\t")) for line in files["collocations.tab"].splitlines()}
    rows = (line.split("\t") for line in files["ortho_context.tab"].splitlines())
    parameters.ortho_context = defaultdict(int, {word: int(flags) for word, flags in rows})
    return parameters


def sentence_tokenize() -> Tokenize:
    """NLTK's Punkt tokenizer; each context of a possible sentence end is judged once."""
    punkt = slim_import("nltk.tokenize.punkt")

    class MemoPunkt(punkt.PunktSentenceTokenizer):
        def __init__(self) -> None:
            super().__init__()
            self._params = _punkt_parameters()
            self._judged: dict[str, bool] = {}

        def text_contains_sentbreak(self, text: str) -> bool:
            judged = self._judged.get(text)
            if judged is None:
                if len(self._judged) > _JUDGED_LIMIT:
                    self._judged.clear()
                judged = self._judged[text] = super().text_contains_sentbreak(text)
            return judged

    return MemoPunkt().tokenize


def load_tagger() -> BatchTagger:
    """NLTK's averaged perceptron tagger of English, for batches."""
    name = "averaged_perceptron_tagger_eng"
    files = {part: json.loads(content) for part, content in read_package(name).items()}
    tagger = slim_import("nltk.tag.perceptron").PerceptronTagger(load=False)
    tagger.decode_json_params(files[f"{name}.{part}.json"] for part in ("weights", "tagdict", "classes"))
    return BatchTagger(tagger)


def universal_tags() -> dict[str, str]:
    """Penn tag -> universal tag; tags that are not listed are X."""
    lines = read_package("universal_tagset")["en-ptb.map"].decode().splitlines()
    return dict(line.split("\t") for line in lines if line.strip())


def english_stop_words() -> frozenset[str]:
    """NLTK's list of English stop words."""
    return frozenset(read_package("stopwords")["english"].decode().split())


def load_sentiment() -> NltkSentiment:
    """NLTK's VADER analyzer."""
    vader = slim_import("nltk.sentiment.vader")

    class Analyzer(vader.SentimentIntensityAnalyzer):
        def __init__(self, lexicon: str) -> None:
            self.lexicon_file = lexicon
            self.lexicon = self.make_lex_dict()
            self.constants = vader.VaderConstants()

    return NltkSentiment(Analyzer(read_package("vader_lexicon")["vader_lexicon.txt"].decode()))
