"""One answer in a pipe: what comes first, what standard output carries, how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from program import MINICHAT, fails, minichat
from pseudo_terminal import Tty

from minichat import cli
from quant import errors

LONG = ("--temperature", "1.5", "--seed", "3")  # the small model never ends an answer


def start(*arguments: str | Path, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*MINICHAT, *map(str, arguments)], stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def in_shell(command: str, *arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    """A line of bash, in which `minichat` is the program and "$1" the first of the arguments."""
    call = "minichat() { '%s' -c '%s' \"$@\"; }; " % (MINICHAT[0], MINICHAT[2])  # noqa: UP031
    return subprocess.run(
        ["bash", "-c", call + command, "bash", *map(str, arguments)], capture_output=True, timeout=60, check=False
    )


# What goes in.


def test_piped_text_a_blank_line_the_prompt(small_gguf: Path) -> None:
    options = ("--seed", "3", "--max-tokens", "5", "--json")
    piped = json.loads(minichat("run", small_gguf, "sum up", *options, stdin=b"one\ntwo\n\n").stdout)
    typed = json.loads(minichat("run", small_gguf, "one\ntwo\n\nsum up", *options).stdout)
    other = json.loads(minichat("run", small_gguf, "sum up\n\none\ntwo", *options).stdout)
    assert piped["stats"]["prompt_tokens"] == typed["stats"]["prompt_tokens"]
    assert piped["tokens"] == typed["tokens"] != other["tokens"]


def test_odd_bytes_are_replaced_with_one_warning(small_gguf: Path) -> None:
    done = minichat("run", small_gguf, "x", "--max-tokens", "3", "--json", stdin=b"ab\xff\xfe and \x80")
    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        "minichat: warning: standard input is not UTF-8 text (byte 2): what is not is replaced by \ufffd"
    ]
    replaced = minichat(
        "run", small_gguf, "x", "--max-tokens", "3", "--json", stdin="ab\ufffd\ufffd and \ufffd".encode()
    )
    tokens = [json.loads(one.stdout)["stats"]["prompt_tokens"] for one in (done, replaced)]
    assert tokens[0] == tokens[1]


def test_a_person_is_told_of_an_input_that_does_not_come(small_gguf: Path) -> None:
    command = ("bash", "-c", 'sleep 3 | "$@"', "bash", *MINICHAT, "run", str(small_gguf), "hello")
    with Tty("--max-tokens", "3", command=command) as tty:
        tty.wait_for("waiting for the end of standard input", seconds=10)
        assert tty.end() == 0


# What comes out.


def test_an_answer_is_streamed(small_gguf: Path) -> None:
    with start("run", small_gguf, "hello", *LONG, "--max-tokens", "150") as process:
        assert process.stdout is not None
        parts, under_way = [], 0
        while part := os.read(process.stdout.fileno(), 65536):
            parts.append(part)
            under_way += process.poll() is None
        assert process.wait(30) == 0
    assert under_way > 3
    whole = minichat("run", small_gguf, "hello", *LONG, "--max-tokens", "150")
    assert b"".join(parts).decode() == whole.stdout


def test_json_is_one_line_with_all_that_is_needed(small_gguf: Path) -> None:
    done = minichat("run", small_gguf, "hello", "--max-tokens", "7", "--temperature", "1.5", "--json")
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", 1)
    facts = json.loads(done.stdout)
    assert {"model", "template", "answer", "tokens", "reason", "seed", "stats"} == facts.keys()
    assert (len(facts["tokens"]), facts["reason"], facts["model"]) == (7, "length", small_gguf.name)
    assert all(facts["stats"][name] >= 0 for name in ("first_token_s", "prefill_s", "decode_s"))
    again = minichat(
        "run", small_gguf, "hello", "--max-tokens", "7", "--temperature", "1.5", "--json", "--seed", facts["seed"]
    )
    assert json.loads(again.stdout)["tokens"] == facts["tokens"]


def test_nothing_but_the_answer_whatever_the_environment_says(
    small_gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    coloured = minichat("run", small_gguf, "hello", *LONG, "--max-tokens", "20")
    assert "\x1b" not in coloured.stdout + coloured.stderr
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    plain = minichat("run", small_gguf, "hello", *LONG, "--max-tokens", "20")
    assert (plain.returncode, plain.stderr) == (0, "")
    assert plain.stdout.isascii()


def test_the_status_is_not_for_the_pipe(small_gguf: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = ("bash", "-c", f"\"$@\" < /dev/null > '{out}'", "bash", *MINICHAT, "run", str(small_gguf), "hello")
    with Tty(*LONG, "--max-tokens", "5", command=command) as tty:
        assert tty.end() == 0
        assert b"loading" in tty.sent
        assert tty.text().strip() == ""  # gone when it is done
    assert minichat("run", small_gguf, "hello", *LONG, "--max-tokens", "5").stdout == out.read_text()


# How it ends.


@pytest.mark.parametrize("reader", ["head -n 1", "head -c 1", "true"])
def test_a_reader_that_leaves(reader: str, small_gguf: Path) -> None:
    asked = f'minichat run "$1" hello {" ".join(LONG)}'  # a seed with lines: it does not begin to call tools
    done = in_shell(f'{asked} | {reader}; echo "=${{PIPESTATUS[0]}}"', small_gguf)
    assert done.stdout.endswith(b"=141\n")
    assert done.stderr == b""


@pytest.mark.parametrize(
    "command", ["--help", "list --json", "run --help", "search", "search --json", "completion zsh"]
)
def test_a_reader_of_other_commands_that_leaves(command: str) -> None:
    done = in_shell(f'minichat {command} | true; echo "${{PIPESTATUS[0]}}"')
    assert done.stdout in (b"141\n", b"0\n")
    assert done.stderr == b""


@pytest.mark.parametrize("as_json", [False, True])
def test_a_context_that_is_too_small(as_json: bool, small_gguf: Path) -> None:
    asked = ("run", small_gguf, "--ctx", "64", *(["--json"] if as_json else []))
    fails(
        3, "tokens long, and the context holds 64; shorten it, or raise the limit with --ctx", *asked, stdin=b"a " * 99
    )


def test_a_context_that_is_full_is_told(small_gguf: Path) -> None:
    done = minichat("run", small_gguf, "hello", "--ctx", "64", *LONG)
    assert done.returncode == 0
    assert done.stderr == "the answer was cut: the context of 64 tokens is full (--ctx)\n"
    done = minichat("run", small_gguf, "hello", "--ctx", "64", *LONG, "--json")
    assert json.loads(done.stdout)["reason"] == "context"


def test_ctrl_c_while_the_prompt_is_read(small_gguf: Path, tmp_path: Path) -> None:
    (tmp_path / "long").write_text("word " * 7500)
    with (
        (tmp_path / "long").open("rb") as stdin,
        start("run", small_gguf, "--ctx", "32768", stdin=stdin.fileno()) as process,
    ):
        time.sleep(0.6)  # the model is loaded in less; the prompt takes longer
        process.send_signal(signal.SIGINT)
        begin = time.monotonic()
        out, said = process.communicate(timeout=30)
        assert time.monotonic() - begin < 5
        assert (process.returncode, said) == (130, b"")
        assert out.count(b"\n") <= 1


def test_ctrl_c_gives_json_that_is_whole(small_gguf: Path) -> None:
    with start("run", small_gguf, "hello", *LONG, "--json") as process:
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        out, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (130, b"")
    facts = json.loads(out)
    assert (facts["reason"], bool(facts["answer"])) == ("stop", True)


def test_ctrl_c_while_standard_input_is_read(small_gguf: Path) -> None:
    with start("run", small_gguf, stdin=subprocess.PIPE) as process:
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        assert process.communicate() == (b"", b"")


def test_a_polite_kill_leaves_no_engine(small_gguf: Path) -> None:
    with start("run", small_gguf, "hello", *LONG) as process:
        assert process.stdout is not None
        process.stdout.read(1)
        engine = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])
        process.terminate()
        assert process.wait(10) == 143
        with pytest.raises(ProcessLookupError):
            os.kill(engine, 0)


def test_help_tells_the_exit_codes() -> None:
    told = {int(code) for code in re.findall(r"^    (\d+)  +\w", minichat("--help").stdout, re.MULTILINE)}
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and kind is not errors.MinichatError]
    assert told == {0, cli.INTERRUPTED, cli.BROKEN_PIPE, *(kind.exit_code for kind in kinds)}


def test_the_help_of_run_and_map_teaches_by_example() -> None:
    for command in ("run", "map"):
        shown = minichat(command, "--help").stdout
        assert shown.count(f"minichat {command} ") >= 5
        assert max(map(len, shown.splitlines())) <= 80
