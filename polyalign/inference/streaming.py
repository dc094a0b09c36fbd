"""Many requests at a time, answers one by one: a plain iterator over asynchronous work.

    for answer in Streamer(concurrency=64).stream(requests, ask):
        ...

`ask` is a coroutine function. The event loop runs only while the caller waits for the next answer, so what the
caller does in between needs no locks.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Streamer:
    """An event loop of its own, kept between calls because connections belong to the loop they were made in.

    Args:
        concurrency: most items in work at a time.
    """

    def __init__(self, concurrency: int) -> None:
        self.concurrency = concurrency
        self._loop = asyncio.new_event_loop()

    def run(self, work: Awaitable[Answer]) -> Answer:
        """The result of one piece of work."""
        return self._loop.run_until_complete(work)

    def stream(self, items: Iterable[Item], ask: Callable[[Item], Awaitable[Answer]]) -> Iterator[Answer]:
        """Yield `await ask(item)` for each item, in the order in which they finish.

        The first exception of `ask` is raised here, and the work still under way is cancelled.
        """
        waiting = iter(items)
        finished: asyncio.Queue[asyncio.Task[Answer]] = asyncio.Queue()
        running: set[asyncio.Task[Answer]] = set()

        def start(count: int) -> None:
            for item in islice(waiting, count):
                task = self._loop.create_task(_call(ask, item))
                running.add(task)
                task.add_done_callback(finished.put_nowait)

        try:
            start(self.concurrency)
            while running:
                task = self.run(finished.get())
                running.discard(task)
                start(1)
                yield task.result()
        finally:
            for task in running:
                task.cancel()
            if running:
                self.run(asyncio.gather(*running, return_exceptions=True))

    def close(self) -> None:
        """Close the loop; nothing may be in work."""
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()


async def _call(ask: Callable[[Item], Awaitable[Answer]], item: Item) -> Answer:
    # `ask` is called inside the task: one that is cancelled before it starts then leaves nothing unawaited.
    return await ask(item)
