"""Settings that are read again: checked before anything is swapped, told of without values."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from isthmus.app.reload import RESTART, TAKEN, Part, Reloader
from isthmus.core.beside import beside
from isthmus.core.events import ConfigurationRead, Crashed, Fact
from isthmus.settings import Settings, SettingsError, Source
from tests.support.sink import MemorySink

KEY = "sk-do-not-repeat"


class Models:
    """A part that refuses what it is told to, and notes what it was swapped to."""

    def __init__(self, order: list[str], error: Exception | None = None) -> None:
        self.error = error
        self.held = ""
        self._order = order

    def prepare(self, settings: Settings) -> Callable[[], None]:
        self._order.append("prepare")
        if self.error is not None:
            raise self.error
        return lambda: self._swap(settings)

    def _swap(self, settings: Settings) -> None:
        self._order.append("swap")
        self.held = settings.providers.openai.api_key.get_secret_value()


class WaitedFor(MemorySink):
    """Lets a test wait for the next fact."""

    def __init__(self) -> None:
        super().__init__()
        self._news = asyncio.Event()

    def emit(self, fact: Fact) -> None:
        super().emit(fact)
        self._news.set()

    async def more(self) -> None:
        await self._news.wait()
        self._news.clear()


class Desk:
    """A file of settings and what reads it."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "isthmus.yml"
        self.write("logging: {level: INFO}\n")
        self.sink = WaitedFor()
        self.order: list[str] = []
        self.models, self.second = Models(self.order), Models(self.order)
        self.taken: list[Settings] = []
        source = Source(self.file)
        parts = (Part(("providers", "models"), self.models.prepare), Part((), self.second.prepare))
        self.reloader = Reloader(source.read(), source, parts, self.sink, self.taken.append)

    def write(self, text: str) -> None:
        self.file.write_text(text, encoding="utf-8")

    async def told(self, count: int) -> list[ConfigurationRead]:
        async with asyncio.timeout(10.0):
            while len(self.sink.of(ConfigurationRead)) < count:
                await self.sink.more()
        return self.sink.of(ConfigurationRead)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("ISTHMUS_"):
            monkeypatch.delenv(name)
    return Desk(tmp_path)


@asynccontextmanager
async def watching(desk: Desk) -> AsyncIterator[asyncio.Event]:
    asked = asyncio.Event()
    async with beside(desk.reloader.run(asked)):
        yield asked


async def test_new_settings_are_prepared_by_all_and_then_swapped_by_all(desk: Desk) -> None:
    desk.write(f"providers: {{openai: {{api_key: {KEY}}}}}\nhttp: {{port: 1}}\n")
    assert await desk.reloader.reload()
    assert desk.order == ["prepare", "prepare", "swap", "swap"]
    assert desk.models.held == KEY
    [fact] = desk.sink.of(ConfigurationRead)
    changed = (("http.port", RESTART), ("providers.openai.api_key", TAKEN))
    assert fact == ConfigurationRead(True, "", changed)
    assert KEY not in str(fact)
    # What needs a restart stays as it is, and is told again until there was one.
    assert desk.reloader.settings.http.port == 5052
    assert [one.http.port for one in desk.taken] == [5052]
    await desk.reloader.reload()
    assert desk.sink.of(ConfigurationRead)[1].changed == (("http.port", RESTART),)


@pytest.mark.parametrize(
    "text",
    [
        "providers: {openai: {api_key: new}}\nhttp: {port: many}\n",
        "providers: {openai: {api_key: new}}\nnothing: 1\n",
        "providers: [\n",
    ],
)
async def test_what_is_wrong_is_refused_and_the_old_kept(desk: Desk, text: str) -> None:
    desk.write(text)
    assert not await desk.reloader.reload()
    [fact] = desk.sink.of(ConfigurationRead)
    assert not fact.taken
    assert str(desk.file) in fact.reason
    assert desk.order == []
    assert desk.reloader.settings.providers.openai.api_key.get_secret_value() == ""


async def test_one_part_that_refuses_keeps_the_others_from_swapping(desk: Desk) -> None:
    desk.second.error = SettingsError("models.defaults: there is no such model")
    desk.write(f"providers: {{openai: {{api_key: {KEY}}}}}\n")
    assert not await desk.reloader.reload()
    assert desk.order == ["prepare", "prepare"]
    [fact] = desk.sink.of(ConfigurationRead)
    assert fact == ConfigurationRead(False, "models.defaults: there is no such model")
    assert desk.taken == []


async def test_a_bug_in_what_is_new_does_not_end_what_runs(desk: Desk) -> None:
    desk.models.error = KeyError("x")
    assert not await desk.reloader.reload()
    assert [crash.where for crash in desk.sink.of(Crashed)] == ["reload"]
    assert not desk.sink.of(ConfigurationRead)[0].taken


async def test_settings_are_read_when_asked_even_if_nothing_has_changed(desk: Desk) -> None:
    async with watching(desk) as asked:
        asked.set()
        assert await desk.told(1) == [ConfigurationRead(True, "nothing has changed")]
        asked.set()
        await desk.told(2)
    # A key that was refused may be good again: parts begin anew each time.
    assert desk.order.count("swap") == 4


async def test_a_file_that_changed_and_rests_is_read_once(desk: Desk) -> None:
    desk.write("reload: {watch_s: 0.05}\n")
    await desk.reloader.reload()
    async with watching(desk):
        desk.write("reload: {watch_s: 0.05}\nlogging: {level: ERROR}\n")
        facts = await desk.told(2)
        assert facts[1].changed == (("logging.level", RESTART),)
        desk.file.unlink()
        assert not (await desk.told(3))[2].taken
        desk.write("reload: {watch_s: 0.05}\n")
        assert (await desk.told(4))[3].taken
    assert len(desk.sink.of(ConfigurationRead)) == 4


async def test_a_file_is_left_alone_when_nobody_is_to_watch(desk: Desk) -> None:
    desk.write("reload: {watch_s: 0}\n")
    await desk.reloader.reload()
    async with watching(desk) as asked:
        desk.write("reload: {watch_s: 0}\nlogging: {level: ERROR}\n")
        asked.set()
        facts = await desk.told(2)
    assert facts[1].changed == (("logging.level", RESTART),)
