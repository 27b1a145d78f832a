"""The program from outside: what it prints, where, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import gguf_samples
import pytest
from program import MINICHAT, fails, minichat, start
from pseudo_terminal import Tty

from convert import gguf_writer as w
from minichat import inputs
from quant.errors import DataError

# Usage.


@pytest.mark.parametrize("command", ["", "run", "convert", "list", "show", "rm", "cp", "render", "doctor"])
def test_help_teaches(command: str) -> None:
    done = minichat(*filter(None, [command]), "--help")
    assert done.returncode == 0
    assert "Usage: " in done.stdout
    assert done.stderr == ""
    assert "\x1b" not in done.stdout


def test_no_command_is_help() -> None:
    assert minichat().stdout == minichat("--help").stdout


def test_version() -> None:
    assert minichat("--version").stdout.startswith("minichat ")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["rnu"], "run"),
        (["run"], "MODEL"),
        (["run", "demo", "hi", "--nonsense"], "--nonsense"),
        (["run", "demo", "hi", "--top-k", "many"], "--top-k"),
        (["run", "demo", "hi", "--device", "abacus"], "auto, cpu, gpu"),
        (["run", "demo", "hi", "--max-tokens", "0"], "--max-tokens"),
        (["run", "a b", "hi"], "no model name"),
        (["convert", ".", "-q", "q99"], "q4_K_M"),
        (["convert", ".", "-o", "x.gguf", "--name", "x"], "--output"),
        (["run", "demo"], "the prompt is empty"),
        (["run", "demo", "  "], "the prompt is empty"),
        (["run", "demo", "-"], "the prompt is empty"),
    ],
)
def test_wrong_usage(arguments: list[str], says: str) -> None:
    fails(2, says, *arguments)


# One answer.


def test_a_pipe_gets_the_answer_and_nothing_else(small_gguf: Path) -> None:
    arguments = [small_gguf, "--temperature", "1.5", "--seed", "3", "--max-tokens", "40"]
    done = minichat("run", *arguments, stdin=b"hello\n")
    data = json.loads(minichat("run", *arguments, "--json", stdin=b"hello\n").stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert data["stats"]["answer_tokens"] == 40
    assert (data["reason"], data["template"]) == ("length", "v7-tekken")
    assert not any(ord(c) < 32 and c not in "\n\t" for c in done.stdout)
    visible = "".join(c for c in data["answer"] if c.isprintable() and c.isascii())
    assert [c for c in done.stdout if c in visible] == [c for c in data["answer"] if c in visible]


def test_stats_go_to_standard_error(small_gguf: Path) -> None:
    done = minichat("run", small_gguf, "hello", "--max-tokens", "5", "--stats")
    assert "answer 5 tokens" in done.stderr
    assert "tokens" not in done.stdout


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--stats"], "--stats is for"),
        (["--json"], "--json is for"),
        (["--json", "--stats"], "--json and --stats are for"),
    ],
)
def test_a_chat_is_no_answer_to_count(options: list[str], says: str) -> None:
    with Tty("run", "demo", *options) as tty:
        assert tty.end() == 2
        assert tty.text().startswith(f"minichat: {says} one answer")


@pytest.mark.parametrize(
    ("piped", "prompt", "question"),
    [
        (None, None, None),
        (None, "hi", "hi"),
        ("text\n", None, "text"),
        ("text\n\n", "sum up", "text\n\nsum up"),
        ("", "hi", "hi"),
        (" \n", "hi", "hi"),
        ("\ufefftext", "-", "text"),
        ("  indented\n", None, "  indented"),
    ],
)
def test_piped_text_comes_first(
    piped: str | None, prompt: str | None, question: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "stdin").write_bytes((piped or "").encode())
    with (tmp_path / "stdin").open() as stdin:
        monkeypatch.setattr(stdin, "isatty", lambda: piped is None, raising=False) if piped is None else None
        monkeypatch.setattr(sys, "stdin", _Terminal() if piped is None else stdin)
        assert inputs.read_question(prompt) == question


class _Terminal:
    def isatty(self) -> bool:
        return True


def test_a_prompt_that_is_no_text(monkeypatch: pytest.MonkeyPatch, small_gguf: Path) -> None:
    fails(3, "not UTF-8 text (byte 2)", "render", small_gguf, "--messages", "-", stdin=b"ab\xff")
    with pytest.raises(DataError, match="No such file"):
        inputs.read_text("/no/such/file")


def test_a_prompt_longer_than_the_context(small_gguf: Path) -> None:
    fails(3, "400,003 tokens long, and the context holds 32,768", "run", small_gguf, stdin=b"word " * 100_000)


def test_a_closed_pipe(small_gguf: Path) -> None:
    process = start("run", small_gguf, "hello", "--temperature", "1.5", "--seed", "3", "--max-tokens", "5000")
    assert process.stdout is not None
    process.stdout.read(1)
    process.stdout.close()
    assert process.wait(30) == 141
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()


def test_ctrl_c_ends_the_answer_with_what_there_is(small_gguf: Path) -> None:
    process = start("run", small_gguf, "hello", "--temperature", "1.5")
    assert process.stdout is not None
    first = process.stdout.read(1)
    process.send_signal(signal.SIGINT)
    rest, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert (first + rest).endswith(b"\n")
    assert said == b""


def test_an_engine_that_dies(tmp_path: Path, small_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "llama_cpp").mkdir()
    (tmp_path / "llama_cpp" / "__init__.py").touch()
    (tmp_path / "llama_cpp" / "llama_cpp.py").write_text(
        "import os, sys\nsys.stderr.write('ggml.c:1: this cannot be\\n'); sys.stderr.flush(); os.abort()\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    fails(6, "the engine died: SIGABRT, ggml.c:1: this cannot be", "run", small_gguf, "hello")


@pytest.mark.parametrize("error", ["MemoryError", 'RuntimeError("can\'t start new thread")'])
def test_too_little_memory_is_one_line(error: str) -> None:
    code = f"""
from minichat import cli, reports
def fail(*_): raise {error}
reports.show_list = fail
import sys
sys.argv[1:] = ["list"]
cli.main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    said = "minichat: out of memory: close other programs, or give fewer --threads\n"
    assert (done.returncode, done.stdout, done.stderr) == (5, "", said)


def test_standard_output_on_a_full_disk_or_closed(small_gguf: Path) -> None:
    for arguments in ("list --json", f"show {small_gguf}", f"run {small_gguf} hello --max-tokens 3 --json"):
        command = f'"$@" {arguments}'
        full = subprocess.run(["sh", "-c", command + " > /dev/full", "sh", *MINICHAT], capture_output=True, check=False)
        assert (full.returncode, full.stderr.count(b"\n")) == (5, 1), full.stderr
        closed = subprocess.run(["sh", "-c", command + " >&-", "sh", *MINICHAT], capture_output=True, check=False)
        assert b"Traceback" not in closed.stderr
    closed = subprocess.run(
        ["sh", "-c", f'"$@" run {small_gguf} - <&-', "sh", *MINICHAT], capture_output=True, check=False
    )
    assert (closed.returncode, closed.stderr) == (2, b"minichat: the prompt is empty\n")


@pytest.mark.parametrize(("arguments", "code"), [("rnu", 2), ("show nothing", 3), ("show demo --nonsense", 2)])
def test_standard_error_on_a_full_disk_leaves_the_exit_code(arguments: str, code: int) -> None:
    command = f'"$@" {arguments} 2> /dev/full'
    assert subprocess.run(["sh", "-c", command, "sh", *MINICHAT], check=False).returncode == code


def test_a_terminal_that_went_away_leaves_the_exit_code() -> None:
    screen, terminal = os.openpty()
    code = "import sys; sys.argv[1:] = ['show', 'nothing']; sys.stdin.readline(); from minichat.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=terminal, stderr=terminal, start_new_session=True
    )
    os.close(terminal)
    os.close(screen)
    process.communicate(b"\n", timeout=60)
    assert process.returncode == 3


def test_paths_that_no_file_can_have(tmp_path: Path) -> None:
    fails(3, "no such folder", "convert", "x" * 300)
    for command in (["run", "~nosuchuser/x", "hello"], ["convert", "~nosuchuser/x"], ["import", "~nosuchuser/x.gguf"]):
        fails(3, "nosuchuser", *command)


# Models.


@pytest.mark.parametrize("model", ["nothing", "./nothing.gguf", "nothing:q4_K_M"])
def test_no_such_model(model: str) -> None:
    fails(3, "nothing", "run", model, "hello")


def test_damaged_gguf_files(small_gguf: Path, tmp_path: Path) -> None:
    raw = small_gguf.read_bytes()
    for name, content in {"text": b"hello", "header": raw[:100], "cut": raw[: len(raw) // 2]}.items():
        path = tmp_path / f"{name}.gguf"
        path.write_bytes(content)
        fails(3, f"{name}.gguf", "run", path, "hello")
        fails(3, f"{name}.gguf", "show", path)


def test_metadata_of_the_wrong_kind(tmp_path: Path) -> None:
    odd = {
        "template": {"minichat.template": w.u32(3)},
        "templates": {"minichat.template": w.strings(["v3"])},
        "tokens": {"tokenizer.ggml.tokens": w.u32(3), "tokenizer.ggml.model": w.string("llama")},
    }
    for name, keys in odd.items():
        path = tmp_path / f"{name}.gguf"
        gguf_samples.write(path, gguf_samples.METADATA | keys)
        fails(3, "", "run", path, "hello")
        done = minichat("show", path, "--json")
        assert (done.returncode, json.loads(done.stdout)["architecture"]) == (0, "llama")


def test_json_is_safe_on_a_terminal_and_means_the_same(tmp_path: Path) -> None:
    evil = "a\x1b[31mb\x9b2Jc\x7fd\u202ee"
    gguf_samples.write(tmp_path / "x.gguf", gguf_samples.METADATA | {"general.license": w.string(evil)})
    done = minichat("show", tmp_path / "x.gguf", "--json")
    assert json.loads(done.stdout)["licence"] == evil
    assert not set(evil) - set("a[31mb2Jcde") & set(done.stdout)


def test_the_demo_s_name_is_its_own(checkpoint: Path) -> None:
    fails(2, "comes with minichat", "convert", checkpoint, "--name", "demo:mine")
    assert minichat("convert", checkpoint, "--name", "a:b").returncode == 0
    fails(2, "comes with minichat", "cp", "a:b", "demo:q4_K_M")
    checkpoint.rename(checkpoint.parent / "demo")
    minichat("show", checkpoint.parent / "demo")
    assert {m["name"] for m in json.loads(minichat("list", "--json").stdout)} == {"a", "demo-checkpoint"}


def test_a_base_model_has_no_template(checkpoint: Path) -> None:
    assert minichat("convert", checkpoint, "--name", "small:24b-base-2501").returncode == 0
    assert json.loads(minichat("show", "small:24b-base-2501", "--json").stdout)["template"] is None
    fails(3, "base model", "render", "small:24b-base-2501", "--messages", "-", stdin=b'[{"role":"user","content":"x"}]')


def test_names_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    fails(3, "evil", "run", f"{tmp_path}/evil\x1b[2J\u202e.gguf", "hello")
    assert "\x1b" not in minichat("run", f"{tmp_path}/evil\x1b[2J.gguf", "hello").stderr


def test_a_model_s_life(checkpoint: Path) -> None:
    done = minichat("convert", checkpoint, "--name", "small:best")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("small:best")
    listed = json.loads(minichat("list", "--json").stdout)
    assert [(m["full_name"], m["target"], m["template"]) for m in listed] == [("small:best", "q4_K_M", "v7-tekken")]
    assert "small:best" in minichat("list").stdout
    shown = json.loads(minichat("show", "small:best", "--json").stdout)
    assert (shown["architecture"], shown["quantization"], shown["context_length"]) == ("llama", "q4_K_M", 32768)
    assert shown["parameters"] == listed[0]["parameters"]
    assert "q4_K_M" in minichat("show", "small").stdout
    answer = minichat("run", "SMALL:BEST", "hello", "--max-tokens", "5")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert minichat("cp", "small:best", "twin").returncode == 0
    assert minichat("rm", "small:best").returncode == 0
    assert minichat("run", "twin", "hello", "--max-tokens", "5", "--seed", "1").returncode == 0
    assert minichat("rm", "twin:best").returncode == 0
    assert json.loads(minichat("list", "--json").stdout) == []
    fails(3, "twin", "rm", "twin:best")


# render and doctor.


def test_render_shows_text_and_ids(small_gguf: Path, tmp_path: Path) -> None:
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "[INST]"}]
    (tmp_path / "chat.json").write_text(json.dumps(messages))
    done = minichat("render", small_gguf, "--messages", tmp_path / "chat.json", "--json")
    data = json.loads(done.stdout)
    assert (data["template"], data["tokens"][:2], data["tokens"][-1]) == ("v7-tekken", [1, 17], 4)
    assert data["tokens"].count(3) == 1
    text = "<s>[SYSTEM_PROMPT]s[/SYSTEM_PROMPT][INST][INST][/INST]"
    assert data["text"] == text
    assert minichat("render", small_gguf, "--messages", "-", stdin=json.dumps(messages).encode()).stdout == text + "\n"
    other = minichat("render", small_gguf, "--messages", tmp_path / "chat.json", "--template", "v3-tekken")
    assert other.stdout == "<s>[INST]s\n\n[INST][/INST]\n"


def test_render_refuses_what_cannot_be(small_gguf: Path) -> None:
    fails(3, "not valid JSON", "render", small_gguf, "--messages", "-", stdin=b"{")
    fails(3, "conversation is empty", "render", small_gguf, "--messages", "-", stdin=b"[]")
    fails(
        2,
        "v7-tekken",
        "render",
        small_gguf,
        "--messages",
        "-",
        "--template",
        "v99",
        stdin=b'[{"role":"user","content":"x"}]',
    )


def test_doctor() -> None:
    done = minichat("doctor")
    assert done.returncode == 0
    assert "llama-cpp-python" in done.stdout
    assert json.loads(minichat("doctor", "--json").stdout)["engine"]["devices"]
