"""Completion in shells: what could stand at the cursor, and the real shells that ask for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from program import MINICHAT, fails, minichat
from pseudo_terminal import Tty

from minichat.commands.program import application
from minichat.completion.candidates import find_candidates
from minichat.completion.line import behind_program, split_line, unbroken_length
from minichat.completion.scripts import SHELLS, script_for

PROGRAM = typer.main.get_command(application())
BREAKS = " \t\n\"'><=;|&(:"  # bash's own


def values(*words: str) -> list[str]:
    return [one.value for one in find_candidates(PROGRAM, words).words]


def are_files(*words: str) -> bool:
    return find_candidates(PROGRAM, words).are_files


# What could stand there.


def test_commands() -> None:
    assert {"run", "map", "pull", "completion", "sessions", "config"} <= {*values("")}
    assert "complete" not in values("")
    assert values("ru") == ["run"]
    assert values("--v") == ["--version"]
    assert values("nonsense", "") == []


def test_commands_of_a_command() -> None:
    assert values("sessions", "") == ["show", "search", "rm"]
    assert values("sessions", "sh") == ["show"]
    assert "--json" in values("sessions", "--")


def test_options() -> None:
    assert values("run", "demo", "--temper") == ["--temperature"]
    assert values("run", "--max") == ["--max-tokens"]
    assert "--help" in values("du", "-")
    assert values("run", "--seed", "3", "--see") == []  # not twice
    assert values("run", "demo", "--", "--te") == []  # a prompt
    assert values("run", "demo", "hello", "--st") == ["--stats"]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("run", "demo", "--device", ""), ["auto", "cpu", "gpu"]),
        (("run", "demo", "--device=c"), ["--device=cpu"]),
        (("convert", "x", "-q", "q4_"), ["q4_K_M", "q4_K_S", "q4_0"]),
        (("convert", "x", "--quant", "q8"), ["q8_0"]),
        (("convert", "x", "--search", ""), ["standard", "fine"]),
        (("run", "x", "--template", "v3"), ["v3", "v3-tekken"]),
        (("completion", ""), ["bash", "zsh", "fish"]),
        (("run", "mistral-small:24b-q4"), [f"mistral-small:24b-q4_{kind}" for kind in ("K_M", "K_S", "0")]),
        (("run", "mistral-n"), ["mistral-nemo"]),
        (("run", "dem"), ["demo", "demo-vision"]),
        (("run", "demo", "--format", "j"), ["json"]),
        (("run", "demo", "--keys", ""), ["emacs", "vi"]),
        (("run", "demo", "--seed", ""), []),
        (("run", "demo", "--system", "de"), []),
        (("run", "demo", "de"), []),
        (("map", "--json", "--ctx", "64", "dem"), ["demo", "demo-vision"]),
    ],
)
def test_values(words: tuple[str, ...], found: list[str]) -> None:
    assert values(*words) == found


def test_files_are_the_shell_s() -> None:
    for words in (
        ("run", "./mo"),
        ("run", "~/mo"),
        ("run", "nothing-like-it"),
        ("convert", ""),
        ("convert", "x", "-o", ""),
        ("run", "demo", "--schema", ""),
        ("run", "demo", "--tools", ""),
        ("map", "demo", "{}", "--resume", "r"),
        ("render", "demo", "--messages", ""),
    ):
        assert are_files(*words), words
    for words in (("run", "dem"), ("run", "demo", ""), ("run", "demo", "--device", ""), ("rm", ""), ("",)):
        assert not are_files(*words), words


def test_every_option_that_names_a_file_completes_files() -> None:
    for name, command in PROGRAM.commands.items():  # type: ignore[attr-defined]
        for param in command.params:
            if param.param_type_name == "option" and "FILE" in (param.metavar or ""):
                assert are_files(name, param.opts[-1], ""), (name, param.opts)


def test_a_list_of_pictures_goes_on_until_the_next_option() -> None:
    for words in (["--images", ""], ["--images", "a.jpg", ""], ["--images", "a.jpg", "b.jpg", "c"]):
        assert are_files("map", "demo", "Describe it.", *words), words
    assert "--json" in values("map", "demo", "Describe it.", "--images", "a.jpg", "--js")
    assert "--images" not in values("map", "demo", "Describe it.", "--images", "a.jpg", "--")
    assert values("map", "demo", "x", "--images", "a.jpg", "--device", "") == ["auto", "cpu", "gpu"]
    assert are_files("run", "demo", "--image", "")
    assert not are_files("run", "--image", "a.jpg", "")  # MODEL comes next


def test_names_of_the_user(home: Path) -> None:
    from minichat.conversation import Conversation
    from minichat.sessions import Sessions

    (home / "minichat").mkdir()
    (home / "minichat" / "config.toml").write_text('[personas.coder]\nsystem = "x"\n[personas.cook]\nsystem = "y"\n')
    assert values("map", "demo", "{}", "--as", "co") == ["coder", "cook"]
    session = Sessions.default().new("trip-to-rome")
    talk = Conversation("v7-tekken")
    talk.ask("Hello")
    session.save(talk, "demo")
    session.close()
    assert values("run", "demo", "--session", "") == ["trip-to-rome"]
    assert values("sessions", "show", "") == ["trip-to-rome"]
    assert values("sessions", "rm", "tr") == ["trip-to-rome"]


def test_models_of_the_store(small_gguf: Path) -> None:
    assert minichat("import", small_gguf, "--name", "mine:best").returncode == 0
    assert values("run", "mi")[:2] == ["mine:best", "mistral-small"]
    assert values("rm", "") == ["mine:best"]
    assert values("show", "m") == ["mine:best"]


def test_nothing_that_is_wrong_is_told(home: Path) -> None:
    (home / "minichat").mkdir()
    (home / "minichat" / "config.toml").write_text("nonsense")
    done = minichat("complete", "zsh", "--", "map", "demo", "{}", "--as", "")
    assert (done.returncode, done.stdout, done.stderr) == (0, "words\n", "")
    assert minichat("complete", "zsh").stdout.startswith("words\nrun\t")


def test_names_that_a_shell_would_obey_are_left_out(home: Path) -> None:
    (home / "minichat").mkdir()
    names = ["$(touch x)", "`x`", "a b", "a;b", "*", "a'b", 'a\\"b', "~x", "!x", "a\\u001bb", "ok", "größe"]
    (home / "minichat" / "config.toml").write_text("".join(f'[personas."{name}"]\nsystem = "x"\n' for name in names))
    assert set(values("map", "demo", "{}", "--as", "")) <= {"ok", "größe"}


# A line of bash.


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("minichat ", [""]),
        ("minichat run 'a b' --s", ["run", "a b", "--s"]),
        ("A=1 B='x y' /bin/minichat run ", ["run", ""]),
        ('minichat run "mis', ["run", "mis"]),
        ('minichat run "a \\" b" c', ["run", 'a " b', "c"]),
        ("minichat run '' x", ["run", "", "x"]),
        ("minichat run a\\", ["run", "a"]),
        ("mc run de", ["run", "de"]),
        ("minichat", ["minichat"]),
    ],
)
def test_words_of_a_line(line: str, words: list[str]) -> None:
    assert [word.text for word in behind_program(split_line(line))] == words


@pytest.mark.parametrize(
    ("line", "length"),
    [("x a:b", 2), ("x --a=b", 4), ("x --a=b:c", 6), ('x "a:b', 0), ("x ab", 0), ("x ", 0), ("x a@b", 0)],
)
def test_what_readline_takes_for_a_word(line: str, length: int) -> None:
    assert unbroken_length(split_line(line)[-1], BREAKS) == length


# The program, and the shells.


def test_the_scripts() -> None:
    for shell in SHELLS:
        done = minichat("completion", shell)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == script_for(shell, "minichat")
    fails(2, "bash, zsh, fish", "completion", "tcsh")
    assert "~/.bashrc" in minichat("completion", "--help").stdout


@pytest.mark.parametrize("shell", SHELLS)
def test_the_syntax(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not here")
    (tmp_path / "script").write_text(script_for(shell, "/it's a/minichat"))
    done = subprocess.run([shell, "-n", tmp_path / "script"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_it_is_quick_because_it_imports_little() -> None:
    code = (
        "import sys; sys.argv[1:] = ['complete', 'bash', '--', 'minichat run mis', ' :']\n"
        "import atexit; atexit.register(lambda: sys.stderr.write(' '.join(sys.modules)))\n"
        "from minichat.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "mistral-small\t" in done.stdout
    heavy = {"rich", "prompt_toolkit", "numpy", "llama_cpp", "tiktoken", "httpx2", "huggingface_hub", "jsonschema"}
    assert not heavy & {*done.stderr.split()}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a `minichat` on the PATH and files with hostile names to complete."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "minichat"
    program.write_text(f"#!/bin/sh\nexec '{sys.executable}' -c '{MINICHAT[-1]}' \"$@\"\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    work = tmp_path / "work"
    work.mkdir()
    for name in ("evil$(touch PWNED).gguf", "`touch PWNED`", "a b.gguf"):
        (work / name).touch()
    monkeypatch.chdir(work)
    return work


_ASK = """
eval "$(minichat completion bash)"
COMP_LINE=$1 COMP_POINT=${#1} COMP_WORDBREAKS=$2
_minichat
printf '%s\\n' "${COMPREPLY[@]}"
complete -p minichat
"""


@pytest.mark.parametrize(
    ("line", "replies"),
    [
        ("minichat ren", ["render"]),
        ("minichat run mistral-small:24b-q4_", ["24b-q4_K_M", "24b-q4_K_S", "24b-q4_0"]),
        ("minichat run demo --device=c", ["cpu"]),
        ('minichat run "mistral-small:24b-q8', ["mistral-small:24b-q8_0"]),
        ("minichat run './evil$(touch PWNED)", [""]),
        ("minichat run $(touch PWNED) --dev", ["--device"]),
    ],
)
def test_bash_by_its_function(line: str, replies: list[str], folder: Path) -> None:
    done = subprocess.run(
        ["bash", "--norc", "-c", _ASK, "bash", line, BREAKS], capture_output=True, text=True, check=True
    )
    *found, registered = done.stdout.splitlines()
    assert found == replies
    assert registered == "complete -F _minichat minichat"
    assert not (folder / "PWNED").exists()


_INTERACTIVE = {
    "bash": ["bash", "--norc", "--noprofile"],
    "zsh": ["zsh", "-f"],
    "fish": ["fish", "--no-config"],
}
_LOAD = {
    "bash": 'eval "$(minichat completion bash)"',
    "zsh": 'autoload -Uz compinit && compinit -u -D; eval "$(minichat completion zsh)"',
    "fish": "minichat completion fish | source",
}


@pytest.mark.parametrize("shell", SHELLS)
def test_a_real_shell(shell: str, folder: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not here")
    with Tty(command=_INTERACTIVE[shell], env={"PS1": "$ ", "PROMPT": "$ "}) as tty:
        tty.rest(0.3)
        tty.type(f"{_LOAD[shell]}; echo lo''aded\r")
        tty.wait_for("loaded")
        tty.rest(0.2)
        for typed, line in (
            ("minichat ren\t", "minichat render"),
            ("minichat run mistral-small:24b-ins\t", "minichat run mistral-small:24b-instruct-2501"),
            ("minichat run demo --device=c\t", "minichat run demo --device=cpu"),
            ("minichat run ./a\t", "minichat run ./a\\ b.gguf"),
            ("minichat run ./ev\t", "minichat run ./evil\\$\\(touch\\ PWNED\\).gguf"),
        ):
            tty.type(typed)
            tty.wait_for(line, seconds=10)
            tty.type("\x15")  # the line is empty again
            tty.rest(0.1)
    assert sorted(path.name for path in folder.iterdir()) == ["`touch PWNED`", "a b.gguf", "evil$(touch PWNED).gguf"]
