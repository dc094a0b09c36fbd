"""A small HTTP server with the OpenAI API that fails on demand: faults that no real server makes to order."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, Any]


@dataclass
class Asked:
    """What the server was asked."""

    bodies: list[dict] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    prompts: Counter = field(default_factory=Counter)
    at_once: int = 0
    most_at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


def answer_to(body: dict, **changes: Any) -> dict:
    """A completion of a prompt of ids: its text names the prompt's last token."""
    prompt = body["prompt"]
    choice = {"index": 0, "text": f" said {prompt[-1]} ", "finish_reason": "stop", "logprobs": None}
    usage = {"prompt_tokens": len(prompt), "completion_tokens": 2, "total_tokens": len(prompt) + 2}
    answer = {
        "id": "x",
        "object": "text_completion",
        "created": 0,
        "model": "m",
        "choices": [choice],
        "usage": usage,
    }
    return {**answer, **changes}


@contextmanager
def answering(
    reply: Callable[[str, dict, int], Reply | None] = lambda path, body, time_asked: None,
    models: tuple[str, ...] = ("m",),
    seconds: float = 0.0,
) -> Iterator[tuple[str, Asked]]:
    """(base URL, what was asked) of a server; `reply(path, body, n)` may answer the n-th request of a prompt itself."""
    asked = Asked()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: Any) -> None:
            pass

        def _send(self, status: int, value: Any) -> None:
            data = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self) -> None:
            if not models:
                self._send(404, {"error": {"message": "no list here"}})
                return
            listed = [{"id": name, "object": "model", "created": 0, "owned_by": "x"} for name in models]
            self._send(200, {"object": "list", "data": listed})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with asked.lock:
                asked.bodies.append(body)
                asked.keys.add(self.headers["Authorization"])
                name = json.dumps(body.get("prompt", body.get("messages")))
                asked.prompts[name] += 1
                number = asked.prompts[name]
                asked.at_once += 1
                asked.most_at_once = max(asked.most_at_once, asked.at_once)
            time.sleep(seconds)
            with asked.lock:
                asked.at_once -= 1
            status, value = reply(self.path, body, number) or (200, answer_to(body))
            if status == 0:
                # The connection breaks off.
                self.close_connection = True
                self.connection.close()
                return
            self._send(status, value)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", asked
    finally:
        server.shutdown()
        server.server_close()
