"""The canonical features: 134 of the text and 43 of a language model, each with group, unit, meaning and role.

The order here is the column order of every feature table. Both feature sets, `paper-v1` and `core-v1`, use these
names; they differ in the backends that measure tokens, sentences, tags, stop words and sentiment
(`polyalign.features.backends`), so their numbers are never compared with each other.
Definitions: docs/features.md, which is generated from this module.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from polyalign.errors import BadInput

FEATURE_SETS = ("paper-v1", "core-v1")
ROLES = ("response", "prompt_side", "run_constant", "availability")


@dataclass(frozen=True)
class Feature:
    """One feature.

    Attributes:
        name: the column name, as published.
        group: the group of features that is measured together.
        unit: what one unit of the value is.
        definition: the formula; symbols are explained in docs/features.md.
        role: `response` describes the answer; `prompt_side` the prompt; `run_constant` is the same in every row of
            a run; `availability` only says whether or how completely something was measured. Robust metrics use
            `response` features alone.
        integer: whether the value is a whole number (JSON then holds an int).
        log_space: heavy-tailed and positive, so robust metrics take its logarithm.
    """

    name: str
    group: str
    unit: str
    definition: str
    role: str = "response"
    integer: bool = False
    log_space: bool = False


_COUNT_UNITS = ("characters", "tokens", "words", "sentences", "syllables", "lines", "paragraphs", "matches")

# group | name | unit | definition. A unit out of _COUNT_UNITS makes the feature an integer.
_TEXT = """
characters | char_count | characters | length of T
characters | char_no_space_count | characters | length of T without spaces and newlines
characters | whitespace_count | characters | whitespace characters
characters | newline_count | characters | newlines
characters | paragraph_count | paragraphs | non-blank chunks between blank lines
characters | punctuation_count | characters | neither word character nor whitespace
characters | digit_char_count | characters | digits (str.isdigit)
characters | alphabetic_char_count | characters | letters (str.isalpha)
characters | uppercase_char_count | characters | upper-case letters
characters | lowercase_char_count | characters | lower-case letters
characters | non_ascii_char_count | characters | code point above 127
sizes | token_count | tokens | N
sizes | word_token_count | words | W
sizes | unique_word_count | words | U, distinct lexical words
sizes | sentence_count | sentences | S
sizes | avg_char_per_token | characters per token | char_no_space_count / N
sizes | avg_char_per_sentence | characters per sentence | char_count / S
sizes | avg_word_length | characters per word | summed length of the lexical words / W
sizes | avg_tokens_per_sentence | tokens per sentence | mean over sentences with a token
sizes | min_tokens_per_sentence | tokens | minimum over sentences with a token
sizes | max_tokens_per_sentence | tokens | maximum over sentences with a token
sizes | std_tokens_per_sentence | tokens per sentence | population standard deviation, 0 for fewer than two
sizes | avg_sentence_char_length | characters per sentence | mean sentence length
sizes | min_sentence_char_length | characters | shortest sentence
sizes | max_sentence_char_length | characters | longest sentence
sizes | std_sentence_char_length | characters per sentence | population standard deviation, 0 for fewer than two
words | short_word_count | words | lexical words of at most 3 characters
words | medium_word_count | words | lexical words of 4 to 6 characters
words | long_word_count | words | lexical words of at least 7 characters
words | very_long_word_count | words | lexical words of at least 11 characters
words | short_word_ratio | share | short_word_count / W
words | long_word_ratio | share | long_word_count / W
words | very_long_word_ratio | share | very_long_word_count / W
words | type_token_ratio | share | U / W
words | root_ttr | ratio | U / sqrt(W)
words | corrected_ttr | ratio | U / sqrt(2 W)
words | hapax_ratio | share | lexical types seen once / W
words | dislegomena_ratio | share | lexical types seen twice / W
words | distinct_1 | share | distinct lexical unigrams / unigrams
words | distinct_2 | share | distinct lexical bigrams / bigrams
words | distinct_3 | share | distinct lexical trigrams / trigrams
words | repeated_token_ratio | share | sum of (count - 1) over repeated lexical types / W
words | repeated_bigram_ratio | share | sum of (count - 1) over repeated bigrams / bigrams
words | adjacent_repeat_count | words | lexical words equal to the one before
words | max_token_frequency | words | largest count of a lexical type
words | max_token_frequency_ratio | share | max_token_frequency / W
words | shannon_entropy | bits | entropy of the lexical types
readability | syllable_count | syllables | syllables of the alphabetic words
readability | avg_syllables_per_word | syllables per word | syllable_count / E
readability | multisyllabic_word_count | words | alphabetic words of at least 3 syllables
readability | multisyllabic_word_ratio | share | multisyllabic_word_count / W
readability | flesch_reading_ease | score | 206.835 - 1.015 W/S - 84.6 syllable_count/E
readability | flesch_kincaid_grade | grade | 0.39 W/S + 11.8 syllable_count/E - 15.59
readability | gunning_fog | grade | 0.4 (W/S + 100 multisyllabic_word_count/E)
readability | smog_index | grade | 1.043 sqrt(30 multisyllabic_word_count/S) + 3.1291, 0 without a multisyllabic word
readability | coleman_liau | grade | 5.88 alphabetic_char_count/E - 29.6 S/E - 15.8
readability | automated_readability_index | grade | 4.71 char_no_space_count/E + 0.5 W/S - 21.43
punctuation | question_mark_count | characters | ? ？
punctuation | exclamation_mark_count | characters | ! ！
punctuation | comma_count | characters | , ，
punctuation | semicolon_count | characters | ; ；
punctuation | colon_count | characters | : ：
punctuation | period_count | characters | . 。
punctuation | ellipsis_count | matches | three dots or …
punctuation | quote_count | characters | " “ ” ‘ ’ 「 」 『 』
punctuation | apostrophe_count | characters | '
punctuation | hyphen_count | characters | - – — －
punctuation | slash_count | characters | /
punctuation | parenthesis_count | characters | ( ) （ ）
punctuation | bracket_count | characters | [ ] { } 【 】
punctuation | punctuation_density | per token | punctuation_count / N
sentences | question_sentence_ratio | share | sentences that end in ? or ？ / S
sentences | exclam_sentence_ratio | share | sentences that end in ! or ！ / S
sentences | terminal_punctuation_ratio | share | sentences that end in one of . ! ? 。 ！ ？ / S
sentences | sentence_initial_capital_ratio | share | sentences whose first character is upper case / S
casing | all_caps_token_count | tokens | upper-case tokens of at least 2 characters
casing | title_case_token_count | tokens | first character upper case, the rest lower case
casing | lowercase_token_count | tokens | lower-case tokens
casing | all_caps_token_ratio | share | all_caps_token_count / N
casing | title_case_token_ratio | share | title_case_token_count / N
forms | contraction_count | tokens | tokens with an apostrophe
forms | number_token_count | tokens | tokens with a digit
forms | year_token_count | matches | years 1500 to 2100 standing alone
forms | ordinal_token_count | matches | digits with st, nd, rd or th
forms | url_count | matches | http://, https:// or www. addresses
forms | email_count | matches | e-mail addresses
stop words | stopword_count | words | alphabetic words in the stop word list
stop words | stopword_ratio | share | stopword_count / E
grammar | content_word_count | tokens | universal tags ADJ, ADV, NOUN and VERB
grammar | content_word_ratio | share | content_word_count / N
grammar | lexical_density | share | content_word_count / max(1, stopword_count + content_word_count)
grammar | modal_count | tokens | modal verbs (MD)
grammar | modal_ratio | share | modal_count / N
grammar | wh_word_count | tokens | wh-words (WDT, WP, WP$, WRB)
grammar | wh_word_ratio | share | wh_word_count / N
grammar | proper_noun_count | tokens | proper nouns (NNP, NNPS)
grammar | proper_noun_ratio | share | proper_noun_count / N
grammar | past_verb_count | tokens | verbs in the past tense (VBD)
grammar | gerund_verb_count | tokens | gerunds and present participles (VBG)
grammar | past_participle_count | tokens | past participles (VBN)
grammar | non_3sg_present_verb_count | tokens | present verbs other than third person singular (VBP)
grammar | third_person_present_verb_count | tokens | present verbs in the third person singular (VBZ)
grammar | base_verb_count | tokens | verbs in the base form (VB)
sentiment | vader_neg | share | negative share by VADER, 0 for an empty T
sentiment | vader_neu | share | neutral share by VADER, 0 for an empty T
sentiment | vader_pos | share | positive share by VADER, 0 for an empty T
sentiment | vader_compound | score | VADER compound score from -1 to 1, 0 for an empty T
layout | bullet_line_count | lines | lines that start with -, * or • and a space
layout | enumerated_line_count | lines | lines that start with a number or one letter, . or ), and a space
layout | code_fence_count | matches | three backticks
layout | inline_code_marker_count | characters | backticks
layout | repeated_char_sequence_count | matches | runs of at least three equal characters
"""

UNIVERSAL_TAGS = ("ADJ", "ADP", "ADV", "CONJ", "DET", "NOUN", "NUM", "PRON", "PRT", "VERB", "X")

# name | unit | definition | role, after the shared lm_unconditional_ and lm_conditional_ prefixes.
_SCORES = """
available | flag | 1 when the answer could be scored | availability
condition_text_available | flag | 1 when there is a prefix to condition on | availability
answer_token_count | tokens | tokens of the answer that the model saw | response
prefix_token_count | tokens | tokens of the prefix that the model saw | prompt_side
scored_token_count | tokens | answer tokens with a log-probability | response
score_coverage | share | scored_token_count / answer_token_count | availability
logprob_sum | nats | sum of the log-probabilities | response
logprob_mean | nats per token | logprob_sum / scored_token_count | response
nll_sum | nats | -logprob_sum | response
nll_mean | nats per token | -logprob_mean | response
perplexity | ratio | exp(min(nll_mean, 50)) | response
bits_per_token | bits per token | nll_mean / ln 2 | response
surprisal_mean | nats | mean of -log p | response
surprisal_std | nats | population standard deviation of -log p | response
surprisal_min | nats | least surprising token | response
surprisal_max | nats | most surprising token | response
lm_truncated | flag | 1 when tokens were dropped to fit the maximum length | availability
lm_prefix_tokens_dropped | tokens | prefix tokens dropped | availability
lm_answer_tokens_dropped | tokens | answer tokens dropped | availability
"""


def _fields(table: str) -> Iterator[list[str]]:
    for line in table.strip().splitlines():
        yield [field.strip() for field in line.split(" | ")]


def _text_features() -> Iterator[Feature]:
    for group, name, unit, definition in _fields(_TEXT):
        yield Feature(name, group, unit, definition, integer=unit in _COUNT_UNITS)
    for tag in UNIVERSAL_TAGS:
        stem = f"pos_{tag.lower()}"
        yield Feature(
            f"{stem}_count", "parts of speech", "tokens", f"tokens with universal tag {tag}", integer=True
        )
        yield Feature(f"{stem}_ratio", "parts of speech", "share", f"{stem}_count / N")


def _lm_features() -> Iterator[Feature]:
    group = "language model"
    yield Feature("lm_answer_char_count", group, "characters", "length of T", integer=True)
    yield Feature(
        "lm_prefix_char_count", group, "characters", "length of the prefix text", "prompt_side", True
    )
    yield Feature("lm_max_seq_length", group, "tokens", "maximum length of a sequence", "run_constant", True)
    for kind in ("unconditional", "conditional"):
        for name, unit, definition, role in _fields(_SCORES):
            yield Feature(
                name=f"lm_{kind}_{name}",
                group=f"language model, {kind}",
                unit=unit,
                definition=definition,
                role=role,
                integer=unit in ("flag", "tokens"),
                log_space=name == "perplexity",
            )
    group = "language model, comparison"
    gain = "conditional minus unconditional logprob_sum; 0 unless both are available"
    yield Feature("lm_conditional_logprob_gain", group, "nats", gain)
    ratio = "unconditional / conditional perplexity; 0 unless both are available"
    yield Feature("lm_conditional_perplexity_ratio", group, "ratio", ratio, log_space=True)


TEXT_FEATURES: tuple[Feature, ...] = tuple(_text_features())
LM_FEATURES: tuple[Feature, ...] = tuple(_lm_features())
FEATURES: dict[str, Feature] = {feature.name: feature for feature in TEXT_FEATURES + LM_FEATURES}
TEXT_NAMES: tuple[str, ...] = tuple(feature.name for feature in TEXT_FEATURES)
LM_NAMES: tuple[str, ...] = tuple(feature.name for feature in LM_FEATURES)


def check_feature_set(feature_set: str) -> None:
    """Raise `BadInput` unless `feature_set` is one of `FEATURE_SETS`."""
    if feature_set not in FEATURE_SETS:
        raise BadInput(f"unknown feature set {feature_set!r}", expected=f"one of {', '.join(FEATURE_SETS)}")


def feature_names(feature_set: str, lm: bool = False) -> list[str]:
    """Names of a feature set in canonical order: 134, or 177 with the language-model features.

    Raises:
        BadInput: no such feature set.
    """
    check_feature_set(feature_set)
    return [*TEXT_NAMES, *LM_NAMES] if lm else list(TEXT_NAMES)
