"""Decoding settings, final answers of chain of thought, and the published cleanup."""

import pytest
from pydantic import ValidationError

from polyalign.inference.cot import extract_final_answer
from polyalign.inference.decoding import PAPER_DECODINGS, Decoding, paper_decoding
from polyalign.inference.paper_cleanup import clean_published
from polyalign.prompts import FINAL_ANSWER_LABEL, MODE_OF_METHOD


def test_published_decodings_are_those_of_the_table():
    table = {
        "base": (48, 0.1, 0.9, 1.1, 0.1),
        "sft": (128, 0.2, 0.95, 1.12, 0.2),
        "bucketsft": (128, 0.2, 0.95, 1.12, 0.2),
        "dpo": (128, 0, 1, 1.05, 0),
        "hdpo": (128, 0, 1, 1.05, 0),
        "hdporef": (128, 0, 1, 1.05, 0),
    }
    for method, expected in table.items():
        found = paper_decoding(method)
        assert (
            found.answer_limit("xlong", "plain"),
            found.temperature,
            found.top_p,
            found.repetition_penalty,
            found.frequency_penalty,
        ) == expected
    cot = paper_decoding("cot")
    assert [cot.answer_limit(name, "cot") for name in ("short", "medium", "long", "xlong")] == [256] + [
        512
    ] * 3
    assert set(PAPER_DECODINGS) == set(MODE_OF_METHOD)
    assert {decoding.cleanup for decoding in PAPER_DECODINGS.values()} == {"published"}


def test_our_decoding_leaves_text_alone_and_gives_each_bin_room():
    decoding = Decoding()
    assert decoding.cleanup == "none"
    for name, longest in {"short": 40, "medium": 120, "long": 240}.items():
        assert decoding.answer_limit(name, "plain") > 1.5 * longest
    assert decoding.answer_limit("short", "cot") == 64 + decoding.reasoning_tokens


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_new_tokens": 0},
        {"max_new_tokens": {"short": 4}},
        {"top_p": 0},
        {"temperature": -1},
        {"temperature": float("nan")},
        {"repetition_penalty": 0},
        {"seed": -1},
    ],
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValidationError):
        Decoding(**wrong)


def test_the_digest_changes_with_any_setting():
    digests = {Decoding().digest(), Decoding(seed=1).digest(), Decoding(top_p=0.9).digest()}
    assert len(digests) == 3
    assert Decoding(max_new_tokens=9).digest() == Decoding(max_new_tokens="9").digest()


@pytest.mark.parametrize(
    "text, answer",
    [
        ("First this.\nThen that.\nFinal answer: Paris", "Paris"),
        ("Reasoning\n**Final Answer:** Paris\nand more", "Paris\nand more"),
        ("### Final answer：\nParis\n", "Paris"),
        ("推理过程。\n最终答案：北京。", "北京。"),
        ("想一想\n**最终答案**：北京", "北京"),
        ("Final answer: 4\n\nNow another.\nFinal answer: 5", "4\n\nNow another."),
        ("Final answer:", ""),
        ("I will give the final answer: later", None),
        ("no label at all", None),
        ("", None),
    ],
)
def test_final_answers(text, answer):
    assert extract_final_answer(text) == answer


def test_the_labels_the_prompt_asks_for_are_found():
    for label in FINAL_ANSWER_LABEL.values():
        assert extract_final_answer(f"because\n{label} x") == "x"


@pytest.mark.parametrize(
    "text, cleaned",
    [
        ("Paris.\nUser: and Rome?\nAssistant: Italy", "Paris."),
        ("巴黎。\n用户：罗马呢？", "巴黎。"),
        ("Assistant: Paris.", ""),
        ("User: hm\nParis.", "Paris."),
        ("He told the user: go.\nThe system works.", "He told the user: go.\nThe system works."),
        ("  Paris.  ", "Paris."),
        ("", ""),
    ],
)
def test_published_cleanup(text, cleaned):
    assert clean_published(text) == cleaned
