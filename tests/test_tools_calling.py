"""Commands of tools, the hostile ones too: each comes to an end, and nothing of it stays."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from minichat.tools.calling import Limits, Result, call
from minichat.tools.toolbox import Toolbox

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and process groups")

SOON_S = 5.0  # long before the limits below, however slow the machine is
LONG = Limits(seconds=60.0)


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Result]:
    """Calls a tool that is a script of Python."""

    def runs(script: str, limits: Limits = LONG, **arguments: object) -> Result:
        toolbox = Toolbox((), {"tool": (sys.executable, "-c", script)}, tmp_path)
        start_s = time.monotonic()
        result = call(toolbox, "tool", arguments, limits)
        assert time.monotonic() - start_s < max(SOON_S, limits.seconds if limits is not LONG else 0) + SOON_S
        return result

    return runs


def gone(pid: int) -> bool:
    """Whether a process has ended, or does so soon; a zombie that nobody has buried counts as ended."""
    deadline_s = time.monotonic() + SOON_S
    while time.monotonic() < deadline_s:
        try:
            os.kill(pid, 0)
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.01)
    return False


def pid_in(path: Path) -> int:
    deadline_s = time.monotonic() + SOON_S
    while not (path.exists() and path.read_text().endswith("\n")):
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    return int(path.read_text())


def test_arguments_come_as_json_and_output_is_the_result(run: Callable[..., Result]) -> None:
    assert run("import sys; print(sys.stdin.read())", city="Zürich", n=1) == Result('{"city": "Zürich", "n": 1}')
    assert run("import sys; sys.stdout.write('a\\n\\nb\\r\\n\\n')") == Result("a\n\nb")
    assert run("pass") == Result("")


def test_half_a_character_reaches_the_command_as_valid_json(run: Callable[..., Result]) -> None:
    script = "import json, sys; print(ascii(json.load(sys.stdin)['x']))"
    assert run(script, x="a\ud800\\") == Result("'a\\ud800\\\\'")


def test_the_command_runs_in_the_folder_and_gets_no_shell(tmp_path: Path) -> None:
    toolbox = Toolbox(
        (), {"t": (sys.executable, "-c", "import os, sys; print(os.getcwd(), sys.argv[1:])", "$HOME;ls")}, tmp_path
    )
    assert call(toolbox, "t", {}) == Result(f"{tmp_path.resolve()} ['$HOME;ls']")


def test_output_stays_text(run: Callable[..., Result]) -> None:
    assert run(r"import sys; sys.stdout.buffer.write(b'\xff\x00\xfea')") == Result("\ufffd\x00\ufffda")
    assert run(r"print('\x1b[2J[TOOL_CALLS]</s>')") == Result("\x1b[2J[TOOL_CALLS]</s>")


def test_a_failure_is_told_with_its_reason(run: Callable[..., Result]) -> None:
    said = "import sys; print('no such city', file=sys.stderr); print('out'); sys.exit(3)"
    assert run(said) == Result("Error: tool failed with exit code 3: no such city", failed=True)
    assert run("print('no such city'); exit(1)").text == "Error: tool failed with exit code 1: no such city"
    assert run("exit(1)").text == "Error: tool failed with exit code 1"
    assert run("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)").text == "Error: tool failed with SIGSEGV"


def test_of_a_long_complaint_the_beginning_and_the_end_are_told(run: Callable[..., Result]) -> None:
    script = "import sys; [print(i, 'x' * 900, file=sys.stderr) for i in range(40)]; sys.exit('ValueError: why')"
    _, *lines = run(script).text.split("\n")
    assert [line[:2] for line in lines] == ["1 ", "2 ", "3 ", "4 ", "..", "36", "37", "38", "39", "Va"]
    assert max(map(len, lines)) == 500


def test_warnings_of_a_success_are_not_its_result(run: Callable[..., Result]) -> None:
    assert run("import sys; print('deprecated', file=sys.stderr); print(22)") == Result("22")


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("no-such-program-here", "Error: no-such-program-here cannot be run: No such file or directory"),
        ("{folder}/plain", "Error: {folder}/plain cannot be run: Permission denied"),
        ("{folder}/noise", "Error: {folder}/noise cannot be run: Exec format error"),
        ("{folder}", "Error: {folder} cannot be run: Permission denied"),
    ],
)
def test_what_cannot_be_started_is_a_failure(tmp_path: Path, program: str, said: str) -> None:
    (tmp_path / "plain").write_text("#!/bin/sh\n")
    (tmp_path / "noise").write_text("\x7fnoise")
    (tmp_path / "noise").chmod(0o755)
    toolbox = Toolbox((), {"t": (program.format(folder=tmp_path),)}, tmp_path)
    assert call(toolbox, "t", {}) == Result(said.format(folder=tmp_path), failed=True)


def test_a_folder_that_is_gone_is_a_failure(tmp_path: Path) -> None:
    toolbox = Toolbox((), {"t": (sys.executable, "-V")}, tmp_path / "gone")
    assert call(toolbox, "t", {}).text == f"Error: {sys.executable} cannot be run: No such file or directory"


def test_a_command_that_never_ends_is_stopped_with_all_that_it_started(tmp_path: Path) -> None:
    script = "trap '' TERM; sleep 600 & echo $$ $! > pids; sleep 600"  # the children ignore SIGTERM as well
    toolbox = Toolbox((), {"tool": ("sh", "-c", script)}, tmp_path)
    result = call(toolbox, "tool", {}, Limits(seconds=0.5))
    assert result == Result("Error: tool took longer than 0.5 s and was stopped", failed=True)
    assert all(gone(int(pid)) for pid in (tmp_path / "pids").read_text().split())


def test_a_flood_is_cut(run: Callable[..., Result]) -> None:
    result = run("while True: print('né' * 1000)", Limits(seconds=60, output_bytes=1000))
    text, _, remark = result.text.partition("\n[")
    assert not result.failed
    assert text == ("né" * 334)[:667]  # 1000 bytes end in the middle of an é
    assert remark == "cut: the output is longer than 1,000 bytes]"


def test_output_up_to_the_limit_is_whole(run: Callable[..., Result]) -> None:
    assert run("print('x' * 999)", Limits(60, 1000)) == Result("x" * 999)
    assert run("print('x' * 1000)", Limits(60, 1000)).text.endswith("[cut: the output is longer than 1,000 bytes]")


def test_a_flood_of_errors_neither_blocks_nor_fails(run: Callable[..., Result]) -> None:
    assert run("import sys; sys.stderr.write('x' * 10_000_000); print('done')") == Result("done")


def test_a_command_that_does_not_read_gets_no_one_stuck(run: Callable[..., Result]) -> None:
    big = "x" * 1_000_000
    assert run("import sys; sys.stdin.close(); print('done')", x=big) == Result("done")
    assert run("import time; time.sleep(0.1); print('done')", x=big) == Result("done")


STARTS = (
    "import subprocess, sys, time\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session={})\n"
    "open('pid', 'w').write(f'{{child.pid}}\\n')\n"
)


@pytest.mark.parametrize("new_session", [False, True])
def test_a_grandchild_that_keeps_the_pipe_is_not_waited_for(
    tmp_path: Path, run: Callable[..., Result], new_session: bool
) -> None:
    try:
        assert run(STARTS.format(new_session) + "print('done')") == Result("done")
    finally:
        pid = pid_in(tmp_path / "pid")
        os.kill(pid, signal.SIGKILL)  # it was left alone: else there would be nobody to kill
        assert gone(pid)


def test_a_grandchild_that_left_the_group_cannot_hold_up_the_end(tmp_path: Path, run: Callable[..., Result]) -> None:
    try:
        assert run(STARTS.format(True) + "time.sleep(600)", Limits(seconds=1.5)).failed
    finally:
        os.kill(pid_in(tmp_path / "pid"), signal.SIGKILL)


def test_ctrl_c_ends_the_command_and_is_passed_on(tmp_path: Path) -> None:
    script = "import os, time; open('pid', 'w').write(f'{os.getpid()}\\n'); time.sleep(600)"
    toolbox = Toolbox((), {"t": (sys.executable, "-c", script)}, tmp_path)

    def press() -> None:
        pid_in(tmp_path / "pid")
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = threading.Thread(target=press)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            call(toolbox, "t", {}, LONG)
    finally:
        thread.join()
        signal.signal(signal.SIGINT, before)
    assert gone(pid_in(tmp_path / "pid"))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no list of open files")
def test_nothing_is_left_open(run: Callable[..., Result]) -> None:
    def opened() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    run("print(1)")
    files, threads = opened(), threading.active_count()
    for _ in range(5):
        run("print(1)")
    deadline_s = time.monotonic() + SOON_S
    while threading.active_count() > threads and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert threading.active_count() <= threads
    assert opened() <= files
