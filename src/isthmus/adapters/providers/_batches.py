"""Texts that wait for few threads: small requests share a batch, long ones let them pass.

All state belongs to the event loop; threads get texts and give vectors.
"""

import asyncio
import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from threading import Lock
from typing import TypeAlias

from isthmus.core.deadline import Deadline
from isthmus.core.errors import MisconfiguredProvider, UpstreamLimited, UpstreamTimeout
from isthmus.core.ports import Clock

BATCH_TEXTS = 64
BATCH_CHARS = 65_536
WAITING_TEXTS = 262_144
WAITING_CHARS = 64 * 1024 * 1024
RETRY_S = 2.0
_ABSENT = (
    "Local embeddings need an extra: install `isthmus[embeddings]`, or choose another model by "
    "`models.defaults`."
)
_UNREADABLE = "The files of the local embedding model cannot be read; reinstall `wordllama`."

Vectors: TypeAlias = list[list[float]]
Slice: TypeAlias = tuple[Sequence[str], int]
"""Texts, and the dimensions that their vectors shall have."""
Work: TypeAlias = Callable[[Sequence[Slice]], list[tuple[Vectors, int]]]
"""Vectors of length one and the number of tokens, for each slice. Blocking, from any thread."""


def wordllama() -> Work:
    """The model. Raises ImportError without the extra, OSError without its files. Blocking."""
    from isthmus.adapters.providers._wordllama import (  # noqa: PLC0415 - heavy, and an extra
        WordLlama,
    )

    return WordLlama.load().vectors


@dataclass(slots=True, eq=False)
class _Job:
    """One request; `taken` of its texts were given to threads, `made` came back."""

    texts: tuple[str, ...]
    dimensions: int
    done: asyncio.Future[None]
    vectors: Vectors = field(default_factory=list["list[float]"])
    tokens: int = 0
    taken: int = 0
    made: int = 0


@dataclass(frozen=True, slots=True)
class _Share:
    """The texts of a job that are in a batch."""

    job: _Job
    start: int
    end: int


@dataclass(slots=True)
class _Batch:
    """What one thread is given."""

    shares: list[_Share] = field(default_factory=list[_Share])
    texts: int = 0
    chars: int = 0

    def fill(self, jobs: deque[_Job], most: int) -> None:
        """Add the first jobs' next texts, until there are `most`."""
        while jobs and self._room(most):
            job = jobs[0]
            if not job.done.done():
                start = job.taken
                while job.taken < len(job.texts) and self._room(most):
                    self.chars += len(job.texts[job.taken])
                    self.texts += 1
                    job.taken += 1
                self.shares.append(_Share(job, start, job.taken))
            if job.done.done() or job.taken == len(job.texts):
                jobs.popleft()

    def _room(self, most: int) -> bool:
        return self.texts < most and self.chars < BATCH_CHARS


class Batches:
    """Makes vectors in at most `threads` threads; the first of them calls `load`, once."""

    def __init__(self, threads: int, clock: Clock, load: Callable[[], Work] = wordllama) -> None:
        # The tokenizer would use every core, whatever `threads` says, and has no other switch.
        os.putenv("TOKENIZERS_PARALLELISM", "false")
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="embed")
        self._free = threads
        self._small: deque[_Job] = deque()
        self._long: deque[_Job] = deque()
        self._waiting_texts = 0
        self._waiting_chars = 0
        # These two are the threads' own.
        self._loading = Lock()
        self._work: Work | None = None
        self._load = load
        self._clock = clock

    async def vectors(
        self, texts: tuple[str, ...], dimensions: int, deadline: Deadline
    ) -> tuple[Vectors, int]:
        """A vector of length one for each text, and the number of tokens.

        Raises MisconfiguredProvider without the extra, UpstreamLimited when too much waits, or
        UpstreamTimeout.
        """
        if not texts:
            return [], 0
        size = sum(map(len, texts))
        self._admit(len(texts), size)
        job = _Job(texts, dimensions, asyncio.get_running_loop().create_future())
        job.vectors = [[]] * len(texts)
        (self._small if len(texts) <= BATCH_TEXTS else self._long).append(job)
        try:
            self._start()
            async with asyncio.timeout(deadline.left_s(self._clock.now_s())):
                await job.done
        except TimeoutError as error:
            raise UpstreamTimeout("Local embeddings took too long.", "total") from error
        finally:
            self._waiting_texts -= len(texts)
            self._waiting_chars -= size
        return job.vectors, job.tokens

    def _admit(self, texts: int, chars: int) -> None:
        many = self._waiting_texts + texts > WAITING_TEXTS
        if self._waiting_texts and (many or self._waiting_chars + chars > WAITING_CHARS):
            raise UpstreamLimited(
                "Too many texts wait for local embeddings.",
                status=429,
                retryable=True,
                retry_after_s=RETRY_S,
            )
        self._waiting_texts += texts
        self._waiting_chars += chars

    def _start(self) -> None:
        while self._free and (batch := self._next()):
            self._free -= 1
            slices = [
                (share.job.texts[share.start : share.end], share.job.dimensions) for share in batch
            ]
            loop = asyncio.get_running_loop()
            work = loop.run_in_executor(self._pool, self._make, slices)
            work.add_done_callback(partial(self._finished, batch))

    def _next(self) -> list[_Share]:
        """The next texts: half a batch is kept for those of small jobs, if there are any.

        Long jobs go one after another, so that few are half done: vectors take more room than
        texts. Jobs whose caller has left are dropped.
        """
        batch = _Batch()
        batch.fill(self._small, BATCH_TEXTS // 2)
        batch.fill(self._long, BATCH_TEXTS)
        batch.fill(self._small, BATCH_TEXTS)
        return batch.shares

    def _finished(
        self, batch: list[_Share], work: "asyncio.Future[list[tuple[Vectors, int]]]"
    ) -> None:
        self._free += 1
        failure = work.exception()
        if failure is not None:
            for share in batch:
                if not share.job.done.done():
                    share.job.done.set_exception(failure)
        else:
            for share, (vectors, tokens) in zip(batch, work.result(), strict=True):
                _deliver(share, vectors, tokens)
        self._start()

    def _make(self, slices: Sequence[Slice]) -> list[tuple[Vectors, int]]:
        with self._loading:
            if self._work is None:
                try:
                    self._work = self._load()
                except ImportError as error:
                    raise MisconfiguredProvider(_ABSENT) from error
                except OSError as error:
                    raise MisconfiguredProvider(_UNREADABLE) from error
        return self._work(slices)


def _deliver(share: _Share, vectors: Vectors, tokens: int) -> None:
    job = share.job
    job.vectors[share.start : share.end] = vectors
    job.tokens += tokens
    job.made += share.end - share.start
    if job.made == len(job.texts) and not job.done.done():
        job.done.set_result(None)
