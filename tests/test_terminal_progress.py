"""Progress: a line that moves on a terminal, a few lines in a pipe, nothing for short work."""

from __future__ import annotations

import errno
import io
import sys

import pytest
from fake_screen import Screen

from minichat.terminal.progress import StatusLine, WorkProgress


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")


def work(stream: io.TextIOBase, duration_s: float, steps: int = 100) -> None:
    clock = Clock()
    with WorkProgress("converting demo to q4_K_M", stream, clock) as progress:  # type: ignore[arg-type]
        for step in range(steps + 1):
            progress.update(step * 10_000_000, steps * 10_000_000, f"blk.{step}.ffn\x1b")
            clock.now_s += duration_s / (steps + 1)


def test_what_lasts_long_gets_lines_that_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value, plain in (("TERM", "dumb", False), ("ACCESSIBLE", "1", False), ("ACCESSIBLE", "0", True)):
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv(name, value)
        screen, now_s = Screen(40, 10), [0.0]
        written: list[str] = []
        screen.write = lambda text, written=written: written.append(text) or len(text)  # type: ignore[method-assign,func-returns-value,misc]
        status = StatusLine(screen, lambda now_s=now_s: now_s[0], plain)  # type: ignore[arg-type,misc]
        for second in range(40):
            now_s[0] = second
            status.show(f"loading\x1b {second}")
        status.clear()
        status.show("quick")
        assert written == ["(loading␛ 2)\n", "(loading␛ 17)\n", "(loading␛ 32)\n"]
    pipe, times = io.StringIO(), iter([0.0, 100.0])
    status = StatusLine(pipe, lambda: next(times), plain=True)
    status.show("in a pipe")
    status.show("in a pipe, still")
    assert pipe.getvalue() == ""


def test_a_pipe_gets_a_line_every_ten_seconds_and_a_last_one() -> None:
    pipe = io.StringIO()
    work(pipe, 35.0)
    lines = pipe.getvalue().splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("converting demo to q4_K_M  29%  290 MB of 1.0 GB  28.9 MB/s  0:25 left")
    assert lines[3] == "converting demo to q4_K_M: 1.0 GB in 0:35 (28.6 MB/s)"


def test_short_work_says_nothing_in_a_pipe() -> None:
    pipe = io.StringIO()
    work(pipe, 5.0)
    assert pipe.getvalue() == ""


def test_on_a_terminal_one_line_moves_and_a_summary_stays() -> None:
    screen = Screen(100, 24)
    work(screen, 5.0)
    assert screen.text() == ["converting demo to q4_K_M: 1.0 GB in 0:05 (200 MB/s)"]
    screen = Screen(100, 24)
    work(screen, 0.5)
    assert screen.text() == []


@pytest.mark.parametrize("width", [20, 30, 40, 60, 80, 120])
def test_a_long_title_makes_room_for_the_numbers(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    screen = Screen(width, 24)
    clock = Clock()
    title = "converting Mistral-Small-3.2-24B-Instruct-2506 to q4_K_M"
    progress = WorkProgress(title, screen, clock)  # type: ignore[arg-type]
    for step in range(50):
        progress.update(step * 10_000_000, 1_000_000_000, "blk.0.ffn_down.weight")
        clock.now_s += 0.2
    (line,) = screen.text()
    assert "49%" in line
    assert len(line) < width
    assert line.startswith("converting Mistral"[: width - 8])
    if width >= 40:
        assert "0:10 left" in line
    if width >= 60:
        assert "MB/s" in line


@pytest.mark.parametrize("width", [30, 40, 60, 80, 100, 120])
def test_the_line_fits_and_keeps_what_matters(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    screen = Screen(width, 24)
    clock = Clock()
    progress = WorkProgress("converting demo to q4_K_M", screen, clock)  # type: ignore[arg-type]
    for step in range(50):
        progress.update(step * 10_000_000, 1_000_000_000, "blk.0.ffn_down.weight")
        clock.now_s += 0.2
    shown = screen.text()
    assert len(shown) == 1
    assert len(shown[0]) < width
    if width >= 40:
        assert "49%" in shown[0] or "48%" in shown[0]
        assert ("left" in shown[0]) == (width >= 40)
    assert ("━" in shown[0]) == (width >= 100)


def test_work_that_fails_leaves_no_line() -> None:
    screen = Screen(100, 24)
    with pytest.raises(RuntimeError), WorkProgress("pulling", screen, Clock()) as progress:  # type: ignore[arg-type]
        progress.update(0, 0)
        progress.update(1, 10)
        raise RuntimeError
    assert screen.text() == []


def test_a_status_is_there_and_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(100, 24)
    status = StatusLine(screen, Clock())  # type: ignore[arg-type]
    status.show("loading the model\n" + "x" * 200)
    assert len(screen.text()) == 1
    assert len(screen.text()[0]) == 99
    status.clear()
    assert screen.text() == []
    pipe = io.StringIO()
    status = StatusLine(pipe)
    status.show("loading")
    status.clear()
    assert pipe.getvalue() == ""
    monkeypatch.setenv("TERM", "dumb")
    screen = Screen(100, 24)
    StatusLine(screen).show("loading")  # type: ignore[arg-type]
    assert screen.text() == []


class Gone(io.StringIO):
    """A stream that fails from some write on."""

    encoding = "utf-8"

    def __init__(self, error: OSError, after: int, moves: bool) -> None:
        super().__init__()
        self.error, self.left, self.moves = error, after, moves
        self.failed = 0

    def isatty(self) -> bool:
        return self.moves

    def write(self, text: str) -> int:
        self.left -= 1
        if self.left < 0:
            self.failed += 1
            raise self.error
        return super().write(text)


@pytest.mark.parametrize("moves", [True, False], ids=["terminal", "log"])
@pytest.mark.parametrize("after", [0, 1, 2])
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_work_goes_on_when_nobody_can_be_shown_it(moves: bool, after: int, number: int) -> None:
    stream = Gone(OSError(number, "gone"), after, moves)
    work(stream, 55.0)
    assert 1 <= stream.failed <= 2  # it is silent then: the line that moves, and the one that stays


def test_whoever_reads_may_leave() -> None:
    with pytest.raises(BrokenPipeError):
        work(Gone(BrokenPipeError(errno.EPIPE, "gone"), 1, False), 55.0)


def test_a_remark_that_cannot_be_written_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Gone(OSError(errno.EIO, "gone"), 0, True))
    WorkProgress.note("for research only")
    StatusLine().show("loading")


def test_what_was_there_before_is_no_speed() -> None:
    """A work that is taken up tells of the rate, the time left and the sum of what is new."""
    pipe, clock = io.StringIO(), Clock()
    with WorkProgress("fetching x", pipe, clock) as progress:
        for done in range(0, 900_000_001, 100_000_000):  # read again, quickly
            progress.found(done, 2_000_000_000, "checking")
            clock.now_s += 0.2
        for done in range(900_000_000, 2_000_000_001, 100_000_000):
            progress.update(done, 2_000_000_000, "")
            clock.now_s += 10
    lines = pipe.getvalue().splitlines()
    assert lines[1].startswith("fetching x  55%  1.1 GB of 2.0 GB  10.0 MB/s  1:30 left"), lines
    assert lines[-1].startswith("fetching x: 1.1 GB in "), lines


def test_work_without_a_measure_shows_its_title() -> None:
    screen, clock = Screen(100, 24), Clock()
    with WorkProgress("asking the hub for x", screen, clock) as progress:  # type: ignore[arg-type]
        progress.update(0, 0)
        assert screen.text() == ["asking the hub for x"]
        clock.now_s += 30
    assert screen.text() == []
