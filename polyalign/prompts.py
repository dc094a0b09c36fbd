"""Every prompt of the project, rendered in one place for training, inference, LM scoring and judging.

A prompt has a mode (docs/method.md, Views; docs/inference.md, Prompt modes):

    completion  plain text, for a base model without a chat format
    cot         plain text that asks for reasoning and then a final answer, in the record's language
    plain       chat: context, dialogue history and question
    profile     chat, with the target response profile as system prompt
    oracle      profile, and the reference answer shown to the model; no method, see `MODE_OF_METHOD`

`training_ids` and `prompt_ids` share their first part, so a model is asked with the very token ids it was
trained on. A judge is no method and has a prompt of its own, `judge_messages`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from polyalign.errors import BadInput
from polyalign.files import sha256_json
from polyalign.methods import METHODS
from polyalign.records import normalize_text

MODES = ("completion", "cot", "plain", "profile", "oracle")
CHAT_MODES = ("plain", "profile", "oracle")
MODE_OF_METHOD = {name: method.prompt for name, method in METHODS.items()}
TEMPLATE_FOLDER = Path(__file__).resolve().parent.parent / "config" / "chat_templates"

FINAL_ANSWER_LABEL = {"en": "Final answer:", "zh": "最终答案："}
REASONING_LABEL = {"en": "Reasoning:", "zh": "推理："}
_COT_TASK = {
    "en": (
        "Answer the current user message below. Think step by step after "
        f'"{REASONING_LABEL["en"]}", then write only the answer itself after "{FINAL_ANSWER_LABEL["en"]}".'
    ),
    "zh": (
        f"请回答下面的当前用户消息。先在“{REASONING_LABEL['zh']}”之后逐步思考，"
        f"然后在“{FINAL_ANSWER_LABEL['zh']}”之后只写出答案本身。"
    ),
}
_ORACLE_LABEL = {"en": "Reference answer:", "zh": "参考答案："}

# A base model that goes on with the next turn of a plain-text prompt has ended its answer.
_NEXT_TURN = ("\nCurrent User Message:", "\nAssistant Response:", "\nUser:", "\nAssistant:", "\nSystem:")

# Parts of a judge's prompt. The same in every language, so that one standard is asked for in the same words.
_JUDGED_PARTS = ("profile", "conversation", "reference", "answer")
_JUDGED_TAG = re.compile(rf"<(/?(?:{'|'.join(_JUDGED_PARTS)})>)")
_BROKEN = r"< \1"
_PROFILE_FIELDS = ("language", "family", "track", "style_bucket", "length_bin")

Turn = Mapping[str, str]
Message = dict[str, str]


def profile_system_prompt(record: Mapping[str, Any]) -> str:
    """The system prompt that names the target bucket (`paper`)."""
    return (
        "You are a helpful assistant. Follow the target response profile when answering. "
        f"family={record['family']}; track={record['track']}; "
        f"style={record['style_bucket']}; length={record['length_bin']}."
    )


# Records of one conversation follow each other and share their turns.
_normalized_turn = lru_cache(maxsize=4096)(normalize_text)


def _kept_turns(turns: Iterable[tuple[str, str]], question: str) -> list[tuple[str, str]]:
    """The turns normalized, without empty ones and without a last user turn that repeats the question."""
    kept = [(role, text) for role, raw in turns if (text := _normalized_turn(raw))]
    if kept and kept[-1] == ("user", normalize_text(question)):
        kept.pop()
    return kept


def earlier_turns(history: Sequence[Turn], question: str) -> list[tuple[str, str]]:
    """(role, normalized text) before the current question; a last user turn that repeats it is dropped."""
    return _kept_turns(((turn["role"], turn["text"]) for turn in history), question)


def turn_pairs(turns: Iterable[tuple[str, str]], question: str) -> list[list[str]]:
    """[user, assistant] pairs of (role, text) turns: each assistant turn with the latest unpaired user turn (`paper`).

    Turns of another role, assistant turns without a user turn and user turns that another follows are left
    out.
    """
    pairs: list[list[str]] = []
    user: str | None = None
    for role, text in _kept_turns(turns, question):
        if role == "user":
            user = text
        elif role == "assistant" and user is not None:
            pairs.append([user, text])
            user = None
    return pairs


def history_pairs(history: Sequence[Turn], question: str) -> list[list[str]]:
    """[user, assistant] pairs of a record's dialogue history; see `turn_pairs`."""
    return turn_pairs(((turn["role"], turn["text"]) for turn in history), question)


def condition_text(record: Mapping[str, Any]) -> str:
    """Labelled context, dialogue history and current message, parts joined by a blank line."""
    parts = []
    context, question = normalize_text(record["context"]), normalize_text(record["question"])
    if context:
        parts.append(f"Context:\n{context}")
    turns = earlier_turns(record["dialogue_history"], question)
    if turns:
        parts.append(
            "Dialogue History:\n" + "\n".join(f"{role.capitalize()}: {text}" for role, text in turns)
        )
    if question:
        parts.append(f"Current User Message:\n{question}")
    return "\n\n".join(parts)


def condition_prefix(record: Mapping[str, Any]) -> str:
    """The text that conditions LM scoring of the answer (`paper`), up to the answer's label and a newline."""
    return f"{condition_text(record)}\n\nAssistant Response:\n"


def question_text(record: Mapping[str, Any]) -> str:
    """The user's message in a chat prompt: the context, when there is one, a blank line and the question."""
    parts = (normalize_text(record["context"]), normalize_text(record["question"]))
    return "\n\n".join(part for part in parts if part)


def chat_messages(record: Mapping[str, Any], mode: str) -> list[Message]:
    """Messages of the prompt, up to and with the question; a plain-text mode is a single user message."""
    if mode not in MODES:
        raise BadInput(f"unknown prompt mode {mode!r}", expected=f"one of {', '.join(MODES)}")
    if mode not in CHAT_MODES:
        return [{"role": "user", "content": _plain_text(record, mode)}]
    messages: list[Message] = []
    if mode in ("profile", "oracle"):
        messages.append({"role": "system", "content": profile_system_prompt(record)})
    for user, assistant in history_pairs(record["dialogue_history"], record["question"]):
        messages += [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}]
    content = question_text(record)
    if mode == "oracle":
        content += f"\n\n{_ORACLE_LABEL[record['language']]}\n{normalize_text(record['human_answer'])}"
    messages.append({"role": "user", "content": content})
    return messages


def _plain_text(record: Mapping[str, Any], mode: str) -> str:
    if mode == "completion":
        return condition_prefix(record)
    language = record["language"]
    return f"{_COT_TASK[language]}\n\n{condition_text(record)}\n\n{REASONING_LABEL[language]}\n"


def stop_strings(mode: str) -> tuple[str, ...]:
    """Strings at which an answer has ended: for plain-text modes, since a chat turn ends by a token."""
    return () if mode in CHAT_MODES else _NEXT_TURN


@lru_cache(maxsize=8)
def _control_tokens(tokenizer: Any) -> re.Pattern[str] | None:
    """Pattern of the tokenizer's special tokens, which must not come out of a record's text."""
    names = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special}
    names |= set(tokenizer.all_special_tokens)
    if not names:
        return None
    return re.compile("|".join(re.escape(name) for name in sorted(names, key=len, reverse=True)))


def without_control_tokens(tokenizer: Any, text: str) -> str:
    """The text with a space inside every special token, so that data cannot end a turn or a document."""
    pattern = _control_tokens(tokenizer)
    if pattern is None:
        return text
    return pattern.sub(lambda match: f"{match[0][0]} {match[0][1:]}", text)


def _apply_template(tokenizer: Any, messages: list[Message], *, add_generation_prompt: bool) -> str:
    if not tokenizer.chat_template:
        raise BadInput(
            "the tokenizer has no chat template",
            file=tokenizer.name_or_path or None,
            expected="chat_template.jinja beside the model",
            fix="set `chat_template` of the model in the configuration and build its base model again",
        )
    return tokenizer.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=add_generation_prompt
    )


def judge_messages(
    rubric: str, record: Mapping[str, Any], answer: str, *, answer_first: bool = False
) -> list[Message]:
    """The rubric as system message, and a row to be judged: profile, conversation, reference and answer in tags.

    No text of the row can open or close a tag.

    Args:
        rubric: `polyalign.judge.rubric.Rubric.text`.
        answer: the answer to judge.
        answer_first: the answer stands before the reference instead of after it.
    """
    texts = {
        "profile": "; ".join(f"{name.split('_')[0]}={record[name]}" for name in _PROFILE_FIELDS),
        "conversation": condition_text(record),
        "reference": normalize_text(record["human_answer"]),
        "answer": answer.strip(),
    }
    order = ("profile", "conversation", "answer", "reference") if answer_first else _JUDGED_PARTS
    fenced = [f"<{name}>\n{_JUDGED_TAG.sub(_BROKEN, texts[name])}\n</{name}>" for name in order]
    return [{"role": "system", "content": rubric}, {"role": "user", "content": "\n\n".join(fenced)}]


def without_control_tokens_in(tokenizer: Any, messages: Sequence[Message]) -> list[Message]:
    """Messages with the tokenizer's special tokens broken up wherever a text contains them."""
    return [
        {"role": message["role"], "content": without_control_tokens(tokenizer, message["content"])}
        for message in messages
    ]


def safe_messages(tokenizer: Any, record: Mapping[str, Any], mode: str) -> list[Message]:
    """`chat_messages` with the tokenizer's special tokens broken up wherever a text contains them."""
    return without_control_tokens_in(tokenizer, chat_messages(record, mode))


def render_prompt(tokenizer: Any, record: Mapping[str, Any], mode: str) -> str:
    """The prompt's text up to the place where the answer starts.

    Special tokens stand there only where the template put them. Raises `BadInput` for an unknown mode, or a
    chat mode of a tokenizer without a template.
    """
    messages = safe_messages(tokenizer, record, mode)
    if mode not in CHAT_MODES:
        return messages[0]["content"]
    return render_messages(tokenizer, messages)


def render_messages(tokenizer: Any, messages: list[Message]) -> str:
    """Safe chat messages as text, up to the place where the answer starts."""
    return _apply_template(tokenizer, messages, add_generation_prompt=True)


def _encode(tokenizer: Any, text: str) -> list[int]:
    # verbose: an over-long prompt is told by whoever knows the model's limit, once, not by the tokenizer.
    return tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]


def prompt_ids(tokenizer: Any, record: Mapping[str, Any], mode: str) -> list[int]:
    """Token ids of the prompt, with exactly one BOS, at the start, where the tokenizer has one."""
    return text_ids(tokenizer, render_prompt(tokenizer, record, mode))


def text_ids(tokenizer: Any, text: str) -> list[int]:
    """Token ids of a rendered prompt, with exactly one BOS, at the start, where the tokenizer has one."""
    ids = _encode(tokenizer, text)
    bos = tokenizer.bos_token_id
    return ids if bos is None or ids[:1] == [bos] else [bos, *ids]


def training_ids(
    tokenizer: Any, record: Mapping[str, Any], answer: str, mode: str
) -> tuple[list[int], list[int]]:
    """(prompt ids, completion ids): the completion is the answer's tokens and the token that ends the turn.

    An empty answer is the ending token alone. The two parts are tokenized apart, as they are at inference.
    """
    return prompt_ids(tokenizer, record, mode), completion_ids(tokenizer, answer, mode)


def completion_ids(tokenizer: Any, answer: str, mode: str) -> list[int]:
    """Token ids of an answer and the token that ends it: the loss is taken on exactly these."""
    answer = without_control_tokens(tokenizer, answer.strip())
    return [*_encode(tokenizer, answer), end_token_id(tokenizer, mode)]


def end_token_id(tokenizer: Any, mode: str) -> int:
    """The token that ends an answer: the template's end of turn in a chat mode, else the tokenizer's EOS."""
    if mode in CHAT_MODES:
        return _turn_end(tokenizer, tokenizer.chat_template)
    if tokenizer.eos_token_id is None:
        raise BadInput("the tokenizer has no EOS token", file=tokenizer.name_or_path or None)
    return tokenizer.eos_token_id


@lru_cache(maxsize=8)
def _turn_end(tokenizer: Any, template: str | None) -> int:
    """First token after an assistant message; `template` is here so that a new template is asked anew."""
    answer = "Yes"
    messages = [{"role": "user", "content": "No"}, {"role": "assistant", "content": answer}]
    text = _apply_template(tokenizer, messages, add_generation_prompt=False)
    ids = _encode(tokenizer, text.rpartition(answer)[2])
    special = {token_id for token_id, token in tokenizer.added_tokens_decoder.items() if token.special}
    special |= set(tokenizer.all_special_ids)
    if not ids or ids[0] not in special:
        raise BadInput(
            "the chat template does not end an assistant turn by a special token of the tokenizer",
            file=tokenizer.name_or_path or None,
            field="chat_template",
            expected="a token such as <|im_end|> that the tokenizer knows",
        )
    return ids[0]


def stop_token_ids(tokenizer: Any, mode: str) -> list[int]:
    """Tokens at which generation ends: the end of the turn and the tokenizer's EOS."""
    ids = [end_token_id(tokenizer, mode)]
    if tokenizer.eos_token_id is not None and tokenizer.eos_token_id not in ids:
        ids.append(tokenizer.eos_token_id)
    return ids


def load_chat_template(name: str) -> str:
    """The text of config/chat_templates/{name}.jinja."""
    path = TEMPLATE_FOLDER / f"{name}.jinja"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in TEMPLATE_FOLDER.glob("*.jinja")))
        raise BadInput(f"no chat template named {name!r}", file=path, expected=f"one of {known}")
    return path.read_text(encoding="utf-8")


def template_digest(tokenizer_or_template: Any) -> str:
    """SHA-256 of a chat template, given as text or by its tokenizer; null and empty differ."""
    template = tokenizer_or_template
    if template is not None and not isinstance(template, str):
        template = template.chat_template
    return sha256_json(template)
