"""States beside the sessions: whose they are, how much they may take, and when they go."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fake_engine import FakeEngine
from test_terminal_sessions import new_chat, say

from minichat.choices import Choices
from minichat.commands.choosing import run_options
from minichat.engine.types import Stats
from minichat.housekeeping import du, prune
from minichat.sessions import Sessions
from minichat.settings_file import parse_settings
from minichat.space import show_du
from minichat.store import Store
from minichat.terminal.chat import Chat
from minichat.terminal.repl import run_repl
from minichat.terminal.resuming import resume
from minichat.terminal.reviving import revive
from minichat.warm import Warm
from quant.errors import EngineDiedError, StorageError

STATS = Stats(1, 0, 1, 0.1, 0.1, 0.1, 2)


class Engine(FakeEngine):
    """Saves `size` bytes."""

    def __init__(self, size: int = 10) -> None:
        super().__init__()
        self.size = size
        self.limits: list[int] = []

    def save(self, path: Path, limit_bytes: int) -> int:
        self.limits.append(limit_bytes)
        self.saved.append(path)
        path.write_bytes(b"x" * self.size)
        return self.size


@pytest.fixture
def warm(tmp_path: Path) -> Warm:
    return Warm(tmp_path / "sessions" / "warm", quota_bytes=100)


def keep(warm: Warm, name: str, size: int, used_s: float) -> Path:
    """A state that was used `used_s` seconds after 2020 began, last."""
    warm.keep(Engine(size), name)  # type: ignore[arg-type]
    os.utime(warm.path_of(name), (1577836800 + used_s, 1577836800 + used_s))
    return warm.path_of(name)


def names(warm: Warm) -> list[str]:
    return [state.path.name for state in warm.states()]


def test_the_quota_lets_the_oldest_go(warm: Warm) -> None:
    for number, size in enumerate((40, 30, 20)):
        keep(warm, f"s{number}", size, used_s=number)
    assert names(warm) == ["s2.kv", "s1.kv", "s0.kv"]
    os.utime(warm.path_of("s0"))  # it was read again
    keep(warm, "s3", 40, used_s=5)
    assert names(warm) == ["s0.kv", "s3.kv", "s2.kv"]
    keep(warm, "big", 99, used_s=6)
    assert names(warm) == ["big.kv"]
    assert warm.folder.stat().st_mode & 0o777 == 0o700


def test_the_limit_is_the_quota_or_a_share_of_the_disk(warm: Warm, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine()
    warm.keep(engine, "a")  # type: ignore[arg-type]
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Disk", (), {"free": 90})())
    warm.keep(engine, "a")  # type: ignore[arg-type]
    assert engine.limits == [100, 25]


@pytest.mark.parametrize("error", [StorageError("full"), EngineDiedError("killed"), OSError(5, "no")])
def test_what_cannot_be_kept_is_not_told(warm: Warm, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def save(*_: object) -> int:
        raise error

    engine = Engine()
    monkeypatch.setattr(engine, "save", save)
    warm.keep(engine, "a")  # type: ignore[arg-type]
    warm.folder.rmdir()
    warm.folder.write_text("no folder")
    warm.keep(Engine(), "a")  # type: ignore[arg-type]
    assert warm.states() == []


def test_an_interrupted_save_leaves_nothing_half_written(warm: Warm) -> None:
    class Interrupted(Engine):
        def save(self, path: Path, limit_bytes: int) -> int:
            (path.parent / f"{path.name}.part").write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        warm.keep(Interrupted(), "a")  # type: ignore[arg-type]
    assert warm.states() == []


def test_only_what_is_there_is_offered(warm: Warm) -> None:
    engine = Engine()
    warm.offer(engine, "a")  # type: ignore[arg-type]
    path = keep(warm, "a", 10, used_s=1)
    warm.offer(engine, "a")  # type: ignore[arg-type]
    assert engine.restored == [path]


def test_a_person_may_choose_how_much_is_kept(warm: Warm) -> None:
    settings = parse_settings("[defaults]\nwarm-gb = 0", Path("config.toml"))
    options = run_options(Choices(settings, None, {}, {}))
    keep(warm, "a", 10, used_s=1)
    none, engine = Warm.among(warm.folder.parent, options.warm_gb), Engine()
    none.offer(engine, "a")  # type: ignore[arg-type]
    none.keep(engine, "a")  # type: ignore[arg-type]
    assert (engine.restored, engine.limits) == ([], [0])
    assert Warm.among(warm.folder.parent, 3).path_of("a") == warm.path_of("a")


def test_a_state_goes_with_its_session() -> None:
    chat, warm = answered(new_chat("one")), Sessions.default().warm
    chat.keep_warm()
    say(chat, "/save trip")
    assert names(warm) == ["trip.kv"]
    assert chat.session is not None
    chat.session.close()
    chat.sessions.remove("trip")
    assert names(warm) == []


# A chat.


def answered(chat: Chat) -> Chat:
    """As if the engine had read the conversation."""
    chat.engine = Engine()  # type: ignore[assignment]
    chat.stats = STATS
    return chat


def engine_of(chat: Chat) -> Engine:
    assert isinstance(chat.engine, Engine)
    return chat.engine


def test_a_session_that_is_left_is_kept_and_one_that_goes_on_is_offered() -> None:
    other = answered(new_chat("one"))
    say(other, "/save other")
    say(other, "/clear")
    chat = answered(new_chat("two"))
    say(chat, "/save mine")
    say(chat, "/load other")
    folder = chat.sessions.warm.folder
    assert engine_of(other).saved == [folder / "other.kv"]
    assert engine_of(chat).saved == [folder / "mine.kv"]
    assert engine_of(chat).restored == [folder / "other.kv"]
    say(chat, "/load mine")
    assert engine_of(chat).saved == [folder / "mine.kv"]  # nothing was asked in the other one: it is as it was
    chat.restart()
    assert chat.engine.restored == [folder / "mine.kv"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(("stats", "left"), [(None, []), (STATS, ["mine.kv"])])
def test_a_state_that_may_have_killed_the_engine_is_not_offered_to_the_next(
    stats: Stats | None, left: list[str]
) -> None:
    chat = answered(new_chat("one"))
    say(chat, "/save mine")
    chat.keep_warm()
    chat.stats = stats  # of an answer since then, if there was one
    revive(chat, EngineDiedError("the engine died: SIGABRT"))
    assert [path.name for path in chat.engine.restored] == names(chat.sessions.warm) == left  # type: ignore[attr-defined]


def test_a_model_that_is_loaded_in_another_way_goes_on_with_what_was_read() -> None:
    chat = answered(new_chat("one"))
    say(chat, "/save mine")
    before = engine_of(chat)
    say(chat, "/set threads 3")
    assert before.saved == chat.engine.restored == [chat.sessions.warm.path_of("mine")]  # type: ignore[attr-defined]


def test_a_copy_begins_with_what_is_kept_of_the_original() -> None:
    holder = answered(new_chat("one"))
    say(holder, "/save held")
    holder.keep_warm()
    chat = answered(new_chat())
    chat.session, saved = chat.sessions.open("held")
    resume(chat, saved)
    assert chat.session.name == "held-2"
    assert engine_of(chat).restored == [chat.sessions.warm.folder / "held.kv"]


def test_the_end_of_a_chat_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minichat.terminal.repl._take_line", lambda *_: False)
    chat = answered(new_chat("one"))
    run_repl(chat)
    assert len(engine_of(chat).saved) == 1
    for other in (answered(new_chat("one", private=True)), answered(new_chat()), new_chat("one")):
        run_repl(other)
        assert not other.engine.saved  # type: ignore[attr-defined]


def test_ctrl_c_while_it_is_kept_leaves_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def save(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("minichat.terminal.repl._take_line", lambda *_: False)
    chat = answered(new_chat("one"))
    monkeypatch.setattr(chat.engine, "save", save)
    run_repl(chat)
    assert engine_of(chat).closed


# du and prune.


def test_du_and_prune(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, chat = Store(tmp_path / "models"), answered(new_chat("one"))
    sessions, warm = chat.sessions, chat.sessions.warm
    say(chat, "/save trip")
    chat.keep_warm()
    for name in ("gone.kv", "old.kv.part", "new.kv.part", "unknown"):
        (warm.folder / name).write_bytes(b"123")
    os.utime(warm.folder / "old.kv.part", (1, 1))
    usage = du(store, sessions)
    assert (usage.n_states, usage.states_bytes) == (1, 10)
    left = [(one.kind, one.name, one.size_bytes, one.in_use) for one in usage.leftovers]
    assert left == [
        ("half-written", "new.kv.part", 3, True),
        ("half-written", "old.kv.part", 3, False),
        ("without a session", "gone.kv", 3, False),
    ]
    capsys.readouterr()
    show_du(usage, as_json=False)
    shown = capsys.readouterr().out
    assert "what was read of 1 session, so that they go on at once" in shown
    assert "19 B in " in shown
    assert "`minichat prune` frees 6 B" in shown
    assert {one.name for one in prune(store, sessions, all_states=True, dry_run=True)} == {
        *("old.kv.part", "gone.kv", "trip.kv")
    }
    assert {one.name for one in prune(store, sessions)} == {"old.kv.part", "gone.kv"}
    assert sorted(os.listdir(warm.folder)) == ["new.kv.part", "trip.kv", "unknown"]  # noqa: PTH208
    assert [one.kind for one in prune(store, sessions, all_states=True)] == ["state of a session"]
    assert names(warm) == ["new.kv.part"]
    assert chat.sessions.names() == ["trip"]
