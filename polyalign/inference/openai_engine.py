"""The engine for servers: any endpoint with the OpenAI API, one that runs already or one served for the job.

Prompts are sent as token ids where the server takes them (vLLM does), so that it sees exactly the ids of training.
A server that wants text gets the rendered prompt without its BOS, which servers add themselves, and its count of
prompt tokens must then be ours. A server that only chats gets messages and renders them by its own template.
"""

import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import openai

from polyalign.errors import BadInput, PolyAlignError
from polyalign.inference.decoding import Decoding
from polyalign.inference.engine import (
    Completion,
    EngineSettings,
    Failure,
    Request,
    context_length,
    cut_at_stop,
)
from polyalign.inference.server import serve_model
from polyalign.inference.streaming import Streamer
from polyalign.prompts import CHAT_MODES

log = logging.getLogger(__name__)

FORMATS = ("token_ids", "text", "chat")
MOST_STOPS = 4
"""Stop strings of a request in the standard API; the text is cut at all of them here."""
GIVE_UP_AFTER = 20
"""Failures in a row after which no further request is sent: the server is gone or refuses everything."""
_HIDDEN = "***"


@contextmanager
def open_openai_engine(
    model_dir: Path,
    tokenizer: Any,
    mode: str,
    decoding: Decoding,
    settings: EngineSettings,
    stop_token_ids: Sequence[int],
) -> Iterator["OpenAIEngine"]:
    """The engine, connected; a server started for it ends with the block."""
    options = settings.openai
    url = options.base_url or os.environ.get("OPENAI_BASE_URL")
    if options.serve is None and not url:
        raise BadInput(
            "engine openai has no server",
            field="inference.openai.base_url",
            fix="set it or the environment variable OPENAI_BASE_URL, or let the job start one by"
            " inference.openai.serve",
        )
    if options.serve:
        # Both servers know the model by the folder they were started with.
        name = str(model_dir.resolve())
        settings = settings.model_copy(update={"openai": options.model_copy(update={"model": name})})
    with serve_model(model_dir, settings) if options.serve else nullcontext(url) as base_url:
        engine = OpenAIEngine(base_url, model_dir, tokenizer, mode, decoding, settings, stop_token_ids)
        try:
            yield engine
        finally:
            engine.close()


def _response_format(schema: str) -> dict[str, Any]:
    """What asks for an answer that holds to a JSON schema."""
    return {
        "type": "json_schema",
        "json_schema": {"name": "answer", "strict": True, "schema": json.loads(schema)},
    }


class OpenAIEngine:
    """Asks an OpenAI-compatible server (a `polyalign.inference.engine.Engine`).

    Args:
        base_url: of the API, ending in /v1.
        model_dir: folder of the model, for its limits.
        tokenizer: the tokenizer of that model.
        mode: prompt mode; only chat modes can be asked by messages.
        decoding: the same for every request.
        settings: the group `openai`.
        stop_token_ids: tokens that end an answer; sent where prompts are sent as ids.

    Raises:
        PolyAlignError: the server cannot be reached, or which of its models is meant is not clear.
    """

    reads_text = True

    def __init__(
        self,
        base_url: str,
        model_dir: Path,
        tokenizer: Any,
        mode: str,
        decoding: Decoding,
        settings: EngineSettings,
        stop_token_ids: Sequence[int],
    ) -> None:
        options = settings.openai
        # The client says every request at level INFO.
        for name in ("httpx", "httpx2", "openai"):
            logging.getLogger(name).setLevel(logging.WARNING)
        self._key = os.environ.get(options.api_key_env) or ""
        self._client = openai.AsyncOpenAI(
            base_url=base_url,
            api_key=self._key or "none",
            timeout=options.timeout,
            max_retries=options.retries,
        )
        self._streamer = Streamer(options.concurrency)
        self.tokenizer = tokenizer
        self.mode = mode
        self.decoding = decoding
        self.options = options
        self.stop_token_ids = list(stop_token_ids)
        self._format = None if options.prompt == "auto" else options.prompt
        self._failed_in_a_row = 0
        self._gave_up: str | None = None
        self.model, limit = self._find_model(options.model)
        limits = [context_length(model_dir, settings), limit]
        self.max_length = min(limit for limit in limits if limit)

    def _find_model(self, wanted: str | None) -> tuple[str, int | None]:
        """(name, most tokens where the server says) of the model to ask."""
        if self.options.serve:
            # It was started with these names and limits.
            return wanted, None
        try:
            listed = {entry.id: entry for entry in self._streamer.run(self._list_models())}
        except openai.OpenAIError as error:
            # The name is enough to ask; some servers have no list, or list what they could load.
            if wanted is not None and isinstance(error, openai.APIStatusError):
                return wanted, None
            raise PolyAlignError(f"the server does not list its models: {self._told(error)}") from None
        if wanted is None and len(listed) == 1:
            wanted = next(iter(listed))
        if wanted is None:
            raise BadInput(
                f"the server has {len(listed)} models",
                field="inference.openai.model",
                expected=f"one of {', '.join(sorted(listed)[:10])}",
            )
        # A server may answer to names that it does not list.
        return wanted, getattr(listed.get(wanted), "max_model_len", None)

    async def _list_models(self) -> list[Any]:
        return [entry async for entry in self._client.models.list()]

    def describe(self) -> dict[str, Any]:
        """Engine, versions, and how prompts were sent, for the manifest; neither host nor key."""
        return {
            "name": "openai",
            "versions": {"openai": openai.__version__},
            "served_by": self.options.serve,
            # A path is where a served model happens to lie.
            "model": None if self.options.serve else self.model,
            "prompt": self._format,
            "max_length": self.max_length,
        }

    def generate(self, requests: Sequence[Request]) -> Iterator[Completion | Failure]:
        """Yield a completion or a failure for each request, in the order in which they come back.

        After `GIVE_UP_AFTER` failures in a row the rest is not asked and fails as well.

        Raises:
            BadInput: the server takes chat messages only, and the mode has none.
            PolyAlignError: the server takes no format of prompts.
        """
        if requests and self._format is None:
            self._format = self._streamer.run(self._find_format(requests[0]))
        if self._format == "chat" and self.mode not in CHAT_MODES:
            raise BadInput(
                f"a {self.mode!r} prompt is plain text",
                field="inference.openai.prompt",
                expected="token_ids or text: chat messages would be another prompt",
            )
        waiting = {request.source_index for request in requests}
        if self._gave_up is None:
            with closing(self._streamer.stream(requests, self._ask)) as answers:
                for answer in answers:
                    waiting.discard(answer.source_index)
                    yield answer
                    failed = isinstance(answer, Failure)
                    self._failed_in_a_row = self._failed_in_a_row + 1 if failed else 0
                    if self._failed_in_a_row >= GIVE_UP_AFTER:
                        self._gave_up = (
                            f"not asked, {GIVE_UP_AFTER} requests in a row failed: {answer.reason}"
                        )
                        break
        yield from (Failure(index, self._gave_up) for index in sorted(waiting))

    async def _find_format(self, request: Request) -> str:
        """The first format that the server takes and reads as the tokens that were meant."""
        refused = []
        for name in FORMATS if self.mode in CHAT_MODES else FORMATS[:-1]:
            try:
                response = await self._send(request, name, max_tokens=1)
            except (openai.BadRequestError, openai.NotFoundError, openai.UnprocessableEntityError) as error:
                refused.append(f"{name}: {self._told(error)}")
                continue
            except openai.OpenAIError as error:
                raise PolyAlignError(f"the server does not answer: {self._told(error)}") from None
            problem = self._problem(request, response, name)
            if problem is None:
                log.info("the server takes prompts as %s%s", name, "".join(f"; {line}" for line in refused))
                return name
            refused.append(f"{name}: {problem}")
        raise PolyAlignError("the server takes no format of prompts; " + "; ".join(refused))

    async def _ask(self, request: Request) -> Completion | Failure:
        try:
            response = await self._send(request, self._format, max_tokens=request.max_new_tokens)
        except openai.OpenAIError as error:
            return Failure(request.source_index, self._told(error))
        problem = self._problem(request, response, self._format)
        if problem is not None:
            return Failure(request.source_index, problem)
        return self._completion(request, response)

    async def _send(self, request: Request, format: str, max_tokens: int) -> Any:
        decoding = self.decoding
        arguments: dict[str, Any] = {
            "model": self.model,
            "max_tokens": max_tokens,
            "temperature": decoding.temperature,
            "top_p": decoding.top_p,
        }
        if decoding.frequency_penalty:
            arguments["frequency_penalty"] = decoding.frequency_penalty
        if request.stop:
            arguments["stop"] = list(request.stop[:MOST_STOPS])
        # By the standard API's own parameter, which the client does not know for plain completions.
        extra: dict[str, Any] = (
            {"response_format": _response_format(request.schema)} if request.schema else {}
        )
        if not decoding.greedy:
            arguments["seed"] = request.seed
        if format == "token_ids":
            # vLLM's additions to the API. Those at their neutral value stand here because a server takes other
            # defaults from the model's generation_config.json.
            arguments["extra_body"] = {
                **extra,
                "stop_token_ids": self.stop_token_ids,
                "ignore_eos": True,
                "return_token_ids": True,
                "repetition_penalty": decoding.repetition_penalty,
                "top_k": 0,
                "min_p": 0,
            }
            return await self._client.completions.create(prompt=list(request.prompt_ids), **arguments)
        if decoding.repetition_penalty != 1:
            raise BadInput(
                "the OpenAI API has no repetition penalty",
                field="repetition_penalty",
                expected="1, or a server that takes prompts as token ids",
            )
        if extra:
            arguments["extra_body"] = extra
        if format == "text":
            return await self._client.completions.create(prompt=self._without_bos(request.text), **arguments)
        return await self._client.chat.completions.create(messages=list(request.messages), **arguments)

    def _without_bos(self, text: str) -> str:
        return text.removeprefix(self.tokenizer.bos_token or "")

    def _problem(self, request: Request, response: Any, format: str) -> str | None:
        """What is wrong with a response, or None."""
        if not response.choices:
            return "the server sent no answer"
        if response.usage is None:
            return "the server states no token counts"
        read, sent = response.usage.prompt_tokens, len(request.prompt_ids)
        if format != "chat" and read != sent:
            return f"the server read {read} prompt tokens, {sent} were meant"
        reason = response.choices[0].finish_reason
        return None if reason in ("stop", "length") else f"the server ended it as {reason!r}"

    def _completion(self, request: Request, response: Any) -> Completion:
        choice, usage = response.choices[0], response.usage
        tokens = getattr(choice, "token_ids", None)
        if tokens is not None:
            ended = choice.finish_reason == "stop" and tokens and tokens[-1] in self.stop_token_ids
            said = self.tokenizer.decode(tokens[:-1] if ended else tokens, skip_special_tokens=True)
        else:
            said = choice.message.content if self._format == "chat" else choice.text
        text, cut = cut_at_stop(said or "", request.stop)
        reason = "stop" if cut else choice.finish_reason
        return Completion(request.source_index, text, reason, usage.prompt_tokens, usage.completion_tokens)

    def _told(self, error: Exception) -> str:
        """One line of an error, without the key: a server may quote what it was sent."""
        name = type(error).__name__
        cause = f" ({error.__cause__})" if isinstance(error, openai.APIConnectionError) else ""
        line = " ".join(f"{name}: {error}{cause}".split())
        return (line.replace(self._key, _HIDDEN) if self._key else line)[:300]

    def close(self) -> None:
        """Close the connections."""
        self._streamer.run(self._client.close())
        self._streamer.close()
