"""The base model built here: loads as any model does, is reproducible, and learns."""

import math

import pytest

from polyalign.corpora.formatting import format_corpus
from polyalign.demo.sources import write_demo_source
from polyalign.errors import BadInput
from polyalign.prompts import MODES, load_chat_template, prompt_ids, training_ids
from polyalign.records import read_records
from polyalign.tiny_model import EOS, build_tiny_model, pack_texts, sample_texts, train_tokenizer

transformers = pytest.importorskip("transformers")

SETTINGS = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "layers": 2,
    "heads": 2,
    "kv_heads": 1,
    "vocab_size": 1024,
    "pretrain_steps": 30,
    "learning_rate": 5e-3,
    "batch_size": 4,
    "sequence_length": 64,
}
CORPORA = {"en": "squad_v2", "zh": "oasst2_zh"}


@pytest.fixture(scope="module")
def train_files(tmp_path_factory):
    """{language: file of train records}."""
    root = tmp_path_factory.mktemp("records")
    for dataset in CORPORA.values():
        write_demo_source(dataset, root / "raw" / dataset, 200, 1)
        format_corpus(dataset, root / "raw" / dataset, root / dataset)
    return {language: root / dataset / "train.parquet" for language, dataset in CORPORA.items()}


def build(files, folder, **changes):
    return build_tiny_model(
        files,
        folder,
        settings={**SETTINGS, **changes},
        chat_template=load_chat_template("tiny"),
        seed=3,
    )


@pytest.fixture(scope="module")
def built(train_files, tmp_path_factory):
    """{language: (folder, details)}."""
    root = tmp_path_factory.mktemp("models")
    return {
        language: (root / language, build([file], root / language)) for language, file in train_files.items()
    }


@pytest.mark.parametrize("language", CORPORA)
def test_it_learned_and_is_saved_as_a_model_folder(built, language):
    folder, details = built[language]
    assert details["final_loss"] < math.log(details["vocabulary"]) - 1
    assert {"model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja"} <= set(
        details["files"]
    )
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    assert model.config.head_dim == SETTINGS["hidden_size"] // SETTINGS["heads"]
    assert model.num_parameters() == details["parameters"]


def test_equal_seeds_give_equal_files(built, train_files, tmp_path):
    assert build([train_files["en"]], tmp_path / "again")["files"] == built["en"][1]["files"]


@pytest.mark.parametrize("language", CORPORA)
def test_tokenizer_is_lossless_and_padding_is_not_the_end(built, train_files, language):
    tokenizer = transformers.AutoTokenizer.from_pretrained(built[language][0])
    assert tokenizer.pad_token_id not in (tokenizer.eos_token_id, tokenizer.bos_token_id, None)
    for record in list(read_records(train_files[language]))[:20]:
        for text in (record["question"], record["human_answer"], "naïve 🙂 1984\n- x"):
            ids = tokenizer(text, add_special_tokens=False)["input_ids"]
            assert tokenizer.decode(ids) == text


@pytest.mark.parametrize("language", CORPORA)
def test_prompts_have_one_bos_and_answers_end_with_eos(built, train_files, language):
    tokenizer = transformers.AutoTokenizer.from_pretrained(built[language][0])
    record = next(read_records(train_files[language]))
    for mode in MODES:
        ids = prompt_ids(tokenizer, record, mode)
        assert ids[0] == tokenizer.bos_token_id
        assert ids.count(tokenizer.bos_token_id) == 1
    _, answer = training_ids(tokenizer, record, record["human_answer"], "plain")
    assert answer[-1] == tokenizer.convert_tokens_to_ids(EOS)


def test_template_marks_what_the_assistant_says(built):
    tokenizer = transformers.AutoTokenizer.from_pretrained(built["en"][0])
    encoded = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Where is it?"}, {"role": "assistant", "content": "By the river."}],
        return_dict=True,
        return_assistant_tokens_mask=True,
    )
    marked = [
        token for token, own in zip(encoded["input_ids"], encoded["assistant_masks"], strict=True) if own
    ]
    assert tokenizer.decode(marked) == f"By the river.{EOS}"


def test_profile_prompt_costs_few_tokens(built, train_files):
    """The words of the profile are no corpus text, yet must not fall into single bytes."""
    for language, (folder, _) in built.items():
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        record = next(read_records(train_files[language]))
        added = len(prompt_ids(tokenizer, record, "profile")) - len(prompt_ids(tokenizer, record, "plain"))
        assert added < 60


def test_packed_blocks_are_full_and_hold_every_text_once(train_files):
    texts = sample_texts([train_files["en"]], seed=5)
    assert texts == sample_texts([train_files["en"]], seed=5) != sample_texts([train_files["en"]], seed=6)
    tokenizer = train_tokenizer(texts, 600, load_chat_template("tiny"))
    blocks = pack_texts(tokenizer, texts, 32, seed=1)
    assert {len(block) for block in blocks} == {32}
    total = sum(len(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"])
    assert total < len(blocks) * 32 < 1.3 * total


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"heads": 3}, "heads"),
        ({"kv_heads": 4}, "key-value heads"),
        ({"vocab_size": 200}, "vocabulary"),
        ({"batch_size": 100_000}, "fill"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(train_files, tmp_path, changes, message):
    with pytest.raises(BadInput, match=message):
        build([train_files["en"]], tmp_path / "model", **changes)
    assert not (tmp_path / "model").exists()
