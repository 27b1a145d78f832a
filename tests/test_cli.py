"""The program from outside: what it prints, where, and how it ends."""

from __future__ import annotations

import json
import os
import pty
import resource
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import gguf_samples
import pytest
from checkpoints import SHARDED, config, random_tensors, write_checkpoint

from convert import gguf_writer as w
from minichat import cli
from quant.errors import DataError, UsageError

MINICHAT = [sys.executable, "-c", "from minichat.cli import main; main()"]


def minichat(*arguments: str | Path, stdin: bytes = b"", timeout: float = 60) -> subprocess.CompletedProcess[str]:
    command = [*MINICHAT, *map(str, arguments)]
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=timeout, check=False)
    return subprocess.CompletedProcess(command, done.returncode, done.stdout.decode(), done.stderr.decode())


def fails(code: int, says: str, *arguments: str | Path, stdin: bytes = b"") -> None:
    """Nothing on stdout, one line on stderr with `says` in it, and the exit code."""
    done = minichat(*arguments, stdin=stdin)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert done.stderr.startswith("minichat: ")
    assert done.stderr.count("\n") == 1
    assert says in done.stderr


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SHARDED, tmp_path / "checkpoint"))


def files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


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
        assert cli._question(prompt) == question


class _Terminal:
    def isatty(self) -> bool:
        return True


def test_a_prompt_that_is_no_text(monkeypatch: pytest.MonkeyPatch, small_gguf: Path) -> None:
    fails(3, "not UTF-8 text (byte 2)", "run", small_gguf, stdin=b"ab\xff")
    with pytest.raises(DataError, match="No such file"):
        cli._read_text("/no/such/file")
    with pytest.raises(UsageError):
        cli._device("abacus")


def test_a_prompt_longer_than_the_context(small_gguf: Path) -> None:
    fails(3, "400,003 tokens long, and the context holds 8,192", "run", small_gguf, stdin=b"word " * 100_000)


def test_a_closed_pipe(small_gguf: Path) -> None:
    process = subprocess.Popen(
        [*MINICHAT, "run", str(small_gguf), "hello", "--temperature", "1.5"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.read(1)
    process.stdout.close()
    assert process.wait(30) == 141
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()


def test_ctrl_c_ends_the_answer_with_what_there_is(small_gguf: Path) -> None:
    process = subprocess.Popen(
        [*MINICHAT, "run", str(small_gguf), "hello", "--temperature", "1.5"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    first = process.stdout.read(1)
    process.send_signal(signal.SIGINT)
    rest, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert (first + rest).endswith(b"\n")
    assert said == b""


def test_an_engine_that_dies(tmp_path: Path, small_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Python runs sitecustomize in every process: this one ends the engine's as its model is loaded.
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\n"
        "if sys.argv == ['-c'] and 'worker' in ' '.join(sys.orig_argv):\n"
        "    sys.stderr.write('ggml.c:1: this cannot be\\n'); sys.stderr.flush(); os.abort()\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    fails(6, "the engine died: SIGABRT, ggml.c:1: this cannot be", "run", small_gguf, "hello")


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


def test_paths_that_no_file_can_have(tmp_path: Path) -> None:
    fails(5, "File name too long", "convert", "x" * 300)
    fails(3, "nosuchuser", "run", "~nosuchuser/x", "hello")


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


def test_convert_to_a_file(checkpoint: Path, tmp_path: Path, home: Path) -> None:
    done = minichat("convert", checkpoint, "-q", "Q8_0", "-o", tmp_path / "out.gguf", "--json")
    assert json.loads(done.stdout)["size_bytes"] == (tmp_path / "out.gguf").stat().st_size
    assert files(home) == []
    assert minichat("run", tmp_path / "out.gguf", "hello", "--max-tokens", "3").returncode == 0


# Bad checkpoints: one line, exit code 3, and nothing left behind.


def damage_nothing_there(folder: Path) -> str:
    shutil.rmtree(folder)
    folder.mkdir()
    return "config.json"


def damage_missing_shard(folder: Path) -> str:
    (folder / "model-00002-of-00003.safetensors").unlink()
    return "model-00002-of-00003.safetensors"


def damage_truncated(folder: Path) -> str:
    path = folder / "model-00003-of-00003.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    return path.name


def damage_shape(folder: Path) -> str:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"intermediate_size": 512}))
    return "mlp"


def damage_nan(folder: Path) -> str:
    path = folder / "model-00001-of-00003.safetensors"
    raw = bytearray(path.read_bytes())
    raw[-2:] = b"\xc0\x7f"  # a NaN in bfloat16
    path.write_bytes(raw)
    return "NaN"


def damage_architecture(folder: Path) -> str:
    path = folder / "config.json"
    changed = json.loads(path.read_text()) | {"architectures": ["GPT9ForCausalLM"], "model_type": "gpt9"}
    path.write_text(json.dumps(changed))
    return "GPT9ForCausalLM"


@pytest.mark.parametrize(
    "damage",
    [damage_nothing_there, damage_missing_shard, damage_truncated, damage_shape, damage_nan, damage_architecture],
)
def test_bad_checkpoints(damage, checkpoint: Path, tmp_path: Path, home: Path) -> None:  # type: ignore[no-untyped-def]
    says = damage(checkpoint)
    out = tmp_path / "out"
    out.mkdir()
    (out / "model.gguf").write_bytes(b"what was there before")
    fails(3, says, "convert", checkpoint, "-o", out / "model.gguf")
    fails(3, says, "convert", checkpoint)
    fails(3, says, "run", checkpoint, "hello")
    assert files(out) == ["model.gguf"]
    assert (out / "model.gguf").read_bytes() == b"what was there before"
    assert files(home) == []


def test_no_such_checkpoint() -> None:
    fails(3, "no such folder", "convert", "/no/such/folder")


def test_no_space(checkpoint: Path, tmp_path: Path, home: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for extra in (["-o", str(out / "model.gguf")], []):
        done = subprocess.run(
            [*MINICHAT, "convert", str(checkpoint), *extra],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
        )
        assert (done.returncode, done.stdout) == (5, "")
        assert done.stderr.count("\n") == 1
    assert files(out) == []
    assert files(home) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_kill_in_the_middle_of_a_conversion(number: int, code: int, tmp_path: Path) -> None:
    shape = config(layers=12, hidden=1024, inner=4096, heads=16, kv_heads=16)
    write_checkpoint(tmp_path / "large", shape, random_tensors(shape))
    out = tmp_path / "out"
    out.mkdir()
    process = subprocess.Popen(
        [*MINICHAT, "convert", str(tmp_path / "large"), "-o", str(out / "model.gguf")],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    while not (parts := list(out.iterdir())) or not parts[0].stat().st_size:
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == code
    assert files(out) == []


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


# The chat, on a pseudo-terminal.


PROMPT, TAKEN = "Send a message", "\x1b[?2004l"  # the second one ends prompt_toolkit's hold of the terminal


class Terminal:
    """A program on a pseudo-terminal: type, and wait for what it shows."""

    def __init__(self, *arguments: str, columns: int = 80) -> None:
        self.process, self.screen = pty.fork()
        if not self.process:
            os.environ.update(TERM="xterm-256color", COLUMNS=str(columns), LINES="24", PROMPT_TOOLKIT_NO_CPR="1")
            os.execv(sys.executable, [*MINICHAT, *arguments])  # noqa: S606
        self.shown = b""

    def type(self, text: str) -> None:
        os.write(self.screen, text.encode())

    def wait_for(self, text: str, more: int = 0, seconds: float = 30) -> None:
        """Reads until `text` is shown, and `more` bytes after it. What is before their end counts no more."""
        deadline = time.monotonic() + seconds
        while (begin := self.shown.find(text.encode())) < 0 or len(self.shown) < begin + len(text) + more:
            ready, _, _ = select.select([self.screen], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"{text!r} did not come: {self.shown!r}"
            self.shown += os.read(self.screen, 65536)
        self.shown = self.shown[begin + len(text) + more :]

    def end(self) -> int:
        try:
            while part := os.read(self.screen, 65536):
                self.shown += part
        except OSError:
            pass
        return os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])


@pytest.fixture
def terminal(small_gguf: Path) -> Iterator[Terminal]:
    found = Terminal("run", str(small_gguf), "--temperature", "1.5", "--seed", "3")
    yield found
    os.close(found.screen)


def test_a_chat(terminal: Terminal) -> None:
    terminal.wait_for(PROMPT)
    terminal.type("hello\r")
    terminal.wait_for(TAKEN, more=150)  # the message is taken, and some of the answer is there
    terminal.type("\x03")
    terminal.wait_for("(stopped)")
    terminal.wait_for(PROMPT)
    terminal.type("/clear\r")
    terminal.wait_for("afresh")
    terminal.wait_for(PROMPT)
    terminal.type("/nothing\r")
    terminal.wait_for("no command /nothing")
    terminal.wait_for(PROMPT)
    terminal.type("\x04")
    assert terminal.end() == 0
    assert PROMPT.encode() not in terminal.shown  # the hint does not stay behind


def test_what_is_typed_during_an_answer_waits_for_the_prompt(terminal: Terminal) -> None:
    terminal.wait_for(PROMPT)
    terminal.type("hello\r")
    terminal.wait_for(TAKEN, more=150)
    terminal.type("\x03/nothing\r")
    terminal.wait_for("no command /nothing")
    terminal.wait_for(PROMPT)
    terminal.type("\x04")
    assert terminal.end() == 0
