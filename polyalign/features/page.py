"""Write docs/features.md, the reference of every feature, from the list in `polyalign.features.names`.

    python -m polyalign.features.page

Run it after every change of a feature; a test holds the page to the list.
"""

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from polyalign.features.names import LM_FEATURES, TEXT_FEATURES, Feature
from polyalign.files import atomic_path

PAGE_FILE = Path(__file__).resolve().parents[2] / "docs" / "features.md"

_INTRODUCTION = """\
# Features

Every feature by name: 134 of an answer's text, 43 of its probability under a language model. Written by
`python -m polyalign.features.page` from `polyalign/features/names.py`: change that, not this page.

    python -m polyalign features --records test.jsonl --out features.parquet --set core-v1
    python -m polyalign features --records test.jsonl --out features.jsonl --set paper-v1 --lm MODEL_DIR

`--out` may end in `.parquet`, `.jsonl` or `.jsonl.gz`. JSONL rows have the published keys (`id`, `dataset`, `split`,
`field_name`, `features`) and after them ours (`source_index`, `bucket_id`, `feature_set`, `scorer`, `scorer_digest`,
`backends`).
`--predictions FILE` describes predictions instead of the human answers. Text features use all cores unless
`--workers N` says how many.

| rule | makes, under `results/features/{lang}/` |
| --- | --- |
| `fetch_nltk_data` | `resources/nltk_data`, for `paper-v1` |
| `extract_text_features` | `text/human_{split}.parquet`, from the split |
| `extract_prediction_text_features` | `text/{lang}_{method}_{model}_{split}.parquet`, from predictions |
| `score_human_features` | `{scorer}/human_{split}.parquet`: all 177, from text features and the base model |
| `score_prediction_features` | `{scorer}/{lang}_{method}_{model}_{split}.parquet`: the same of predictions |

With `features.shards` above 1 (the paper: 8), each of the four makes its table in that many jobs, side by side on one
machine's cores or on several machines: `{table}.shards/2-of-8.parquet` and so on. A killed run goes on with the shards
that are missing, and `gather_features` joins them. A shard is a run of whole windows of 512 rows, and rows are batched
within windows only, so the joined table has the values of an unsharded one, to the last digit on the same machine.
Every job writes its progress and rate to its log.

With `features.job: language` a job does the work of several: it scores the human answers of all splits of a language
(`score_all_human_features`), the answers that become pairs (`score_pair_features`), or measures and scores the test
predictions of every method and model of the grid (`extract_language_text_features`, `score_language_features`). The
tables are the same, byte for byte; it pays where loading takes longer than scoring, as in the demo, and a cell that
changes takes the others of its language with it.

A feature table holds `source_index`, `id`, `dataset`, `bucket_id`, `field_name` and a column a feature, in the order of
this page. Its metadata say which feature set, which tools (with version or digest) and which scorer measured it; the
scorer by name and by a digest of weights, architecture and tokenizer. Tables, references and reports that differ in any
of these are never put together: that is an error which names both.

## Feature sets

| | `paper-v1` | `core-v1` |
| --- | --- | --- |
| for | the paper's numbers | runs without downloads; the demo |
| tokens | NLTK `word_tokenize`; CJK text by pattern | Treebank tokenizer; CJK text by jieba |
| sentences | NLTK Punkt; CJK text after end marks | rules; CJK text after end marks |
| lexical words of CJK text | single characters, words, numbers | words by jieba |
| tags | NLTK's perceptron tagger, whatever the language | HanTa for English, jieba's dictionary for CJK text |
| stop words | NLTK's English list | stopwordsiso, English and Chinese |
| sentiment | NLTK's VADER | vaderSentiment |
| needs | NLTK data | Python packages |

The names mean the same in both sets, but values of the two are not comparable. A tool that is not there is an error
with the command that gets it:

    python -m polyalign nltk-data --out nltk_data [--mirror DIR]     # then set NLTK_DATA=nltk_data
    python -m pip install HanTa jieba stopwordsiso vaderSentiment

`config/nltk_data.yaml` names every file of NLTK data with its sha256, and a file with another content is refused like
one that is missing: NLTK's list of English stop words has grown since it was used (179 words, now 198). In the
workflow the rule `fetch_nltk_data` puts the files into `resources/nltk_data`, from `features.nltk_mirror` where that is
set, else from NLTK's own folders (those of `NLTK_DATA`) or by download, and the rules of `paper-v1` read them there.

In `core-v1`, HanTa's C5 tags and jieba's tags are mapped to the universal tags. Verb forms and wh-words are counted for
English alone. In a text with CJK characters stop words are counted among all lexical words that are not ASCII, too, and
`stopword_ratio` is their share of these and the alphabetic words.

## Units

Everything is measured on the normalized answer T.

| symbol | meaning |
| --- | --- |
| CJK | U+3400-4DBF, U+4E00-9FFF, U+F900-FAFF |
| N | tokens |
| W | lexical words: matches of `[A-Za-z]+(?:'[A-Za-z]+)?` in lower case, of `\\d+`, single CJK characters |
| U | distinct lexical words |
| E | alphabetic words: the lexical words of the first kind |
| S | sentences; a T that is not empty has at least one |

x / y is 0 when y is 0. Values are rounded to 6 decimals. A word has a syllable for each run of `aeiouy`, one less when
it ends in e but not in le or ye, and at least one; up to three letters make one syllable. The grades and scores of
readability are 0 when E is 0. Definitions in context: [method](method.md#features).

## Roles

`response` features describe the answer. `prompt_side` features describe the prompt, `run_constant` ones are the same in
every row of a run, and `availability` ones only say whether something could be measured: robust metrics leave these
out. A feature marked *log* has a heavy tail, and robust metrics take its logarithm.

"""

_LM = """\
## Language-model features

The scorer is the base model of the cell's model. A sequence is the start token (BOS, else EOS, else none), for the
conditional score the prompt, then the answer; only answer tokens are scored. Prompt and answer are tokenized apart. A
sequence over `lm_max_seq_length` first loses the start of its prompt. If that is not enough, the answer loses its end
(`features.lm.truncation: prompt_first`) or its start (`published`). Log-probabilities are computed in float32 whatever
the precision of the weights.

"""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _table(features: list[Feature]) -> Iterator[str]:
    yield "| feature | unit | definition | role |"
    yield "| --- | --- | --- | --- |"
    for feature in features:
        role = f"{feature.role}, *log*" if feature.log_space else feature.role
        yield f"| `{feature.name}` | {feature.unit} | {_cell(feature.definition)} | {role} |"
    yield ""


def _sections(features: tuple[Feature, ...]) -> Iterator[str]:
    for group, members in groupby(features, key=lambda feature: feature.group):
        yield f"### {group[0].upper()}{group[1:]}"
        yield ""
        yield from _table(list(members))


def features_page() -> str:
    """The text of docs/features.md."""
    lines = [*_sections(TEXT_FEATURES)]
    lm_lines = [*_sections(LM_FEATURES)]
    text = "## Text features\n\n" + "\n".join(lines) + "\n" + _LM + "\n".join(lm_lines)
    return (_INTRODUCTION + text).rstrip() + "\n"


if __name__ == "__main__":
    with atomic_path(PAGE_FILE) as temporary:
        temporary.write_text(features_page(), encoding="utf-8")
