"""`minichat config`."""

from __future__ import annotations

import json
import shlex
import stat
import sys
from pathlib import Path

import pytest
from program import fails, minichat

from minichat.parameters import PARAMETERS
from minichat.sessions import Sessions
from minichat.settings_editing import BEGINNING, edit_settings
from minichat.settings_file import parse_settings
from quant.errors import DataError, StorageError, UsageError

SETTINGS = """
model = "mistral-small"
[defaults]
top-k = 7
[models."mistral-small:24b"]
ctx = 16384
[personas.coder]
model = "demo:q8_0"
system = "You write \\u001b[31m Python."
[models.demo]
seed = 4
"""


@pytest.fixture
def file(home: Path) -> Path:
    (home / "minichat").mkdir()
    path = home / "minichat" / "config.toml"
    path.write_text(SETTINGS)
    return path


def test_the_table_says_where_each_value_comes_from(file: Path) -> None:
    done = minichat("config")
    rows = {line.split()[0]: " ".join(line.split()[1:]) for line in done.stdout.splitlines()}
    assert rows["NAME"] == "VALUE FROM"
    assert rows["top-k"] == "7 [defaults]"
    assert rows["ctx"] == '16384 [models."mistral-small:24b"]'
    assert rows["temperature"] == "0.15 the catalog"  # though it is not here
    assert rows["top-p"] == "0.95 minichat"
    assert done.stderr.splitlines() == [str(file), "the default model mistral-small", "personas (--as NAME): coder"]


def test_json_has_it_all(file: Path) -> None:
    told = json.loads(minichat("config", "--as", "CODER", "--json").stdout)
    assert (told["path"], told["model"], told["persona"], told["personas"]) == (
        str(file), "demo:q8_0", "coder", ["coder"],
    )  # fmt: skip
    assert told["parameters"]["system"] == {"value": "You write \x1b[31m Python.", "from": "persona coder"}
    assert told["parameters"]["seed"] == {"value": 4, "from": '[models."demo"]'}
    assert told["parameters"]["ctx"] == {"value": None, "from": "minichat"}


def test_nothing_hostile_comes_out(file: Path) -> None:
    done = minichat("config", "demo", "--as", "coder")
    assert "You write ␛[31m Python." in done.stdout
    assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.parametrize("model", ["mistralai/Mistral-Small-24B-Instruct-2501", "./no.gguf", "nobody-knows:q8_0"])
def test_a_model_need_not_be_here(file: Path, model: str) -> None:
    done = minichat("config", model)
    assert done.returncode == 0
    assert f"chats with {model}" in done.stderr


def test_wrong_words_are_one_line(file: Path) -> None:
    fails(2, "no persona 'coda': did you mean 'coder'?", "config", "--as", "coda")
    fails(2, "is no model name", "config", "a b")
    fails(2, "--path and --edit", "config", "--path", "--edit")
    fails(2, "stands alone", "config", "demo", "--path")
    file.write_text("temprature = 1")
    fails(3, "'temprature' is unknown", "config")


def test_a_damaged_file_does_not_hide_where_it_is(file: Path) -> None:
    file.write_text("=")
    assert minichat("config", "--path").stdout == f"{file}\n"


def test_without_a_file_the_path_is_told(home: Path) -> None:
    done = minichat("config")
    assert "not there yet: `minichat config --edit` makes it" in done.stderr
    assert len(done.stdout.splitlines()) > 10
    assert not (home / "minichat").exists()


# --edit


def editor(tmp_path: Path, code: str) -> dict[str, str]:
    script = tmp_path / "an editor.py"
    script.write_text(f"import sys, pathlib\nfile = pathlib.Path(sys.argv[-1])\n{code}")
    return {"EDITOR": shlex.join([sys.executable, str(script), "--wait"])}


def test_edit_begins_with_hints_and_checks_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "new" / "config.toml"
    edit_settings(path, editor(tmp_path, "assert sys.argv[1] == '--wait'; assert 'personas' in file.read_text()"))
    assert path.read_text() == BEGINNING
    assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
    edit_settings(path, editor(tmp_path, "file.write_text('[defaults]\\nseed = 1')"))
    with pytest.raises(DataError, match="'sead' is unknown; did you mean 'seed'"):
        edit_settings(path, editor(tmp_path, "file.write_text('[defaults]\\nsead = 1')"))
    assert "sead" in path.read_text()  # what was written stays


def test_the_hints_are_settings_themselves(tmp_path: Path) -> None:
    lines = [line.removeprefix("# ") if not line.startswith("# minichat's") else "" for line in BEGINNING.splitlines()]
    settings = parse_settings("\n".join(lines), tmp_path / "config.toml")
    assert (settings.model, list(settings.personas)) == ("mistral-small", ["coder"])
    assert parse_settings(BEGINNING, tmp_path / "config.toml").model is None


def test_the_settings_in_readme_are_settings(tmp_path: Path) -> None:
    readme = Path(__file__).parent.parent.joinpath("README.md").read_text()
    settings = parse_settings(readme.split("```toml\n")[1].split("```")[0], tmp_path)
    assert (settings.model, list(settings.personas), list(settings.defaults)) == ("mistral-small", ["coder"], ["keys"])


def test_the_table_in_readme_has_all_settings() -> None:
    readme = Path(__file__).parent.parent.joinpath("README.md").read_text()
    rows = readme.split("$ minichat config --as coder\nNAME")[1].split("```")[0].splitlines()[1:]
    assert [row.split()[0] for row in rows] == list(PARAMETERS)


def test_an_editor_that_fails_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "config.toml"
    for environ, says in (
        (editor(tmp_path, "sys.exit(3)"), "ended with the exit code 3"),
        ({"EDITOR": "/no/such/editor"}, "cannot be started"),
        ({"EDITOR": "'"}, "no command"),
    ):
        with pytest.raises(UsageError, match=says):
            edit_settings(path, environ)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match=r"set \$EDITOR"):
        edit_settings(path, {"EDITOR": " "})


def test_a_file_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("nowhere")
    for path in (tmp_path / "file" / "config.toml", tmp_path / "link"):
        with pytest.raises(StorageError, match=str(path)):
            edit_settings(path, {"EDITOR": "true"})


def test_a_session_goes_on_with_its_own_model_and_system_prompt(
    home: Path, small_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(small_gguf.parent)
    short = ("--max-tokens", "3")
    for options in (("--session", "own", "--system", "Mine."), ("--session", "none")):
        assert minichat("run", f"./{small_gguf.name}", "a b", *options, *short).returncode == 0
    (home / "minichat" / "config.toml").write_text(
        '[defaults]\nsystem = "Theirs."\nprivate = true\n[personas.you]\nsystem = "Yours."\n'
    )
    monkeypatch.chdir(tmp_path)
    kept = Sessions(home / "minichat" / "sessions")
    for prompt, name, options, system in (
        ("and now", "own", (), "Mine."),
        ("now?", "none", (), None),
        ("Now", "own", ("--as", "you"), "Yours."),
    ):
        done = minichat("run", prompt, "--session", name, *options, *short)
        assert (done.returncode, done.stderr) == (0, "")
        assert kept.read(name).system == system
        assert kept.read(name).messages[-2].text == prompt
    assert len(kept.read("own").messages) == 6
