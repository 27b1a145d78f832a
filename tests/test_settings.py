"""config.toml, and who has a say in what is chosen."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import gguf_samples
import pytest

from convert.gguf_writer import f32
from minichat import formats
from minichat.choices import Choices, names_of, with_defaults
from minichat.engine.types import LoadOptions, Sampling
from minichat.manifest import Manifest
from minichat.models import Model
from minichat.parameters import PARAMETERS, Value
from minichat.settings import (
    COMMAND_LINE,
    Setting,
    Settings,
    answer_format,
    config_path,
    layers_below,
    load_options,
    load_settings,
    merged,
    parse_settings,
    sampling,
    sound,
)
from quant.errors import DataError, UsageError

FILE = Path("/home/me/config.toml")
WHOLE = """
model = "mistral-small"
[defaults]
temperature = 0.5
top-k = 5
keys = "vi"
[models."Mistral-Small"]
temperature = 0.4
ctx = 4096
[models."mistral-small:24b"]
temperature = 0.3
[personas.Coder]
model = "devstral"
temperature = 0.2
system = "You write Python."
"""
NAMES = ["mistral-small:24b-instruct-2501-q4_K_M", "mistral-small:24b", "mistral-small"]
MANIFEST = Manifest(
    "mistral-small", "24b-instruct-2501-q4_K_M", "sha256-" + "0" * 64, 1, "q4_K_M", "llama", "v7-tekken", 1, 1,
    "", "", "", repo="mistralai/Mistral-Small-24B-Instruct-2501", temperature=0.15,
)  # fmt: skip
SMALL = Model(MANIFEST.full_name, Path("/blobs/x"), MANIFEST)


def resolve(
    settings: Settings,
    names: Iterable[str] = (),
    persona: str | None = None,
    given: Mapping[str, Value] | None = None,
    typed: Mapping[str, Value] | None = None,
    **below: Mapping[str, Any],
) -> dict[str, Setting]:
    """All layers, as `Choices` joins them."""
    lower = layers_below(settings, names, persona, **below)
    return merged([("/set", typed or {}), (COMMAND_LINE, sound(given or {})), *lower])


def test_the_first_that_has_a_say_wins() -> None:
    settings = parse_settings(WHOLE, FILE)

    def temperature(*args: object, **layers: object) -> Setting:
        return resolve(settings, *args, **layers)["temperature"]  # type: ignore[arg-type]

    assert temperature(NAMES, "coder", {"temperature": 0.1}, typed={"temperature": 0}) == Setting(0, "/set")
    assert temperature(NAMES, "coder", {"temperature": 0.1}) == Setting(0.1, "command line")
    assert temperature(NAMES, "coder", {"temperature": None}) == Setting(0.2, "persona Coder")
    assert temperature(NAMES, saved={"temperature": 0.9}) == Setting(0.9, "the session")
    assert temperature(NAMES) == Setting(0.3, '[models."mistral-small:24b"]')
    assert temperature(NAMES[2:]) == Setting(0.4, '[models."Mistral-Small"]')
    assert temperature(["demo"], advised={"temperature": 0.15}) == Setting(0.5, "[defaults]")
    empty = parse_settings("", FILE)
    assert resolve(empty, advised={"temperature": 0.15})["temperature"] == Setting(0.15, "the catalog")
    assert resolve(empty) == dict.fromkeys(PARAMETERS, Setting(None, ""))
    assert resolve(settings, NAMES)["ctx"].value == 4096


def test_the_default_model_is_the_personas_if_it_has_one() -> None:
    settings = parse_settings(WHOLE, FILE)
    assert (settings.model_for(None), settings.model_for("CODER")) == ("mistral-small", "devstral")
    with pytest.raises(UsageError, match="no persona 'code': did you mean 'Coder'"):
        settings.model_for("code")
    with pytest.raises(UsageError, match=r"config\.toml has no"):
        resolve(parse_settings("", FILE), persona="coder")


@pytest.mark.parametrize(
    "name",
    [
        "mistral-small:24b-instruct-2501-q4_K_M",
        "Mistral-Small:24B-q4_k_m",
        "mistral-small:24b-instruct-2501",
        "mistral-small:24b",
        "mistralai/Mistral-Small-24B-Instruct-2501",
        "mistral-small",
        "what-i-called-it",
    ],
)
def test_a_models_table_may_have_any_of_its_names(name: str) -> None:
    settings = parse_settings(f'[models."{name}"]\nseed = 1', FILE)
    choices = Choices(settings).for_model(SMALL, "what-i-called-it")
    assert choices.chosen()["seed"].value == 1
    assert choices.chosen()["temperature"] == Setting(0.15, "the catalog")


@pytest.mark.parametrize("name", ["mistral-small:22b", "mistral-small:24b-q8_0", "mistral", "demo", "x"])
def test_another_models_table_is_not_for_it(name: str) -> None:
    settings = parse_settings(f'[models."{name}"]\nseed = 1', FILE)
    assert Choices(settings).for_model(SMALL, "mistral-small").chosen()["seed"].value is None


def test_the_more_exact_name_wins_whatever_was_typed() -> None:
    settings = parse_settings('[models.mistral-small]\nseed = 1\n[models."mistral-small:24b"]\nseed = 2', FILE)
    for typed in ("mistral-small", "mistral-small:24b", "MISTRAL-SMALL:latest"):
        assert Choices(settings).for_model(SMALL, typed).chosen()["seed"].value == 2


def test_a_file_goes_by_its_path_and_by_its_name() -> None:
    model = Model("model.gguf", Path("/models/model.gguf"))
    assert list(names_of(model, "./model.gguf")) == ["./model.gguf", "model.gguf", "/models/model.gguf"]


def test_without_tables_no_catalog_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minichat.catalog.load_catalog", lambda: pytest.fail("the catalog was read"))
    assert Choices().for_model(SMALL, "mistral-small").chosen()["seed"].value is None


def test_what_a_run_needs_is_made_of_it(tmp_path: Path) -> None:
    given = {"temperature": 0, "top_k": 3, "seed": 4, "ctx": 512, "gpu-layers": 2, "threads": 1, "format": "json"}
    chosen = resolve(parse_settings("[defaults]\nmin-p = 1", FILE), given=given)  # type: ignore[arg-type]
    assert sampling(chosen) == Sampling(0, 3, None, 1, 4)
    assert load_options(chosen) == LoadOptions(512, 2, 1, "auto")
    assert answer_format(chosen) == formats.any_object()
    chosen = resolve(parse_settings('[defaults]\ndevice = "cpu"', FILE))
    assert load_options(chosen) == LoadOptions(device="cpu")
    assert answer_format(chosen) is formats.TEXT
    with pytest.raises(DataError, match="nowhere"):
        answer_format(resolve(parse_settings("", FILE), given={"format": f"{tmp_path}/nowhere.json"}))


def test_auto_over_a_number_leaves_the_choice_to_the_engine() -> None:
    settings = parse_settings('[defaults]\nctx = 4096\ngpu-layers = "auto"\ncache-type = "q8_0"', FILE)
    assert load_options(resolve(settings)) == LoadOptions(4096, cache_type="q8_0")
    chosen = resolve(settings, given={"ctx": "Auto", "cache-type": "f16", "flash-attention": "on"})
    assert load_options(chosen) == LoadOptions(flash_attention="on")
    assert chosen["ctx"] == Setting("auto", "command line")
    with pytest.raises(UsageError, match="--ctx 'much': give auto, or a whole number from 16"):
        resolve(settings, given={"ctx": "much"})
    with pytest.raises(DataError, match="ctx"):
        parse_settings('[defaults]\nctx = "4096"', FILE)


@pytest.mark.parametrize(("value", "plain"), [("1", True), ("yes", True), ("0", None), ("", None)])
def test_accessible_in_the_environment_means_plain(value: str, plain: bool | None) -> None:
    empty = parse_settings("", FILE)
    assert resolve(empty, environment={"ACCESSIBLE": value})["plain"].value is plain
    off = resolve(empty, given={"plain": False}, environment={"ACCESSIBLE": value})["plain"]
    assert off == Setting(False, "command line")


def test_the_command_lines_values_have_limits_too() -> None:
    with pytest.raises(UsageError, match=r"^--top-p 0: give a number above 0, up to 1$"):
        resolve(parse_settings("", FILE), given={"top_p": 0})


# The file


def test_no_file_is_no_settings(tmp_path: Path) -> None:
    for path in (tmp_path / "config.toml", tmp_path / "no" / "folder" / "config.toml"):
        assert load_settings(path).defaults == {}
    (tmp_path / "config.toml").write_text("")
    assert load_settings(tmp_path / "config.toml").model is None


def test_the_file_is_in_minichats_home_or_the_platforms_folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert config_path() == home / "minichat" / "config.toml"
    monkeypatch.delenv("MINICHAT_HOME")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "x"))
    assert config_path() in (home / "x/minichat/config.toml", home / "Library/Application Support/minichat/config.toml")


def test_a_byte_order_mark_and_a_link_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "dotfiles").mkdir()
    (tmp_path / "dotfiles" / "minichat.toml").write_bytes(b'\xef\xbb\xbfmodel = "demo"\r\n')
    (tmp_path / "config.toml").symlink_to("dotfiles/minichat.toml")
    assert load_settings(tmp_path / "config.toml").model == "demo"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x", "no TOML: "),
        ("a = 1\na = 2", "no TOML: "),
        (f"a = {'9' * 5000}", "no TOML: a value is too large or too deep"),
        (f"a = {'[' * 20000}", "no TOML: a value is too large or too deep"),
        ("temperature = 0.3", "'temperature' is unknown; it belongs under [defaults]: temperature = …"),
        ("persona = 1", "'persona' is unknown; did you mean 'personas'?"),
        ("model = 1", "model is no name of a model"),
        ('model = " "', "model is no name of a model"),
        ("defaults = 1", "defaults is no table"),
        ("[[defaults]]\nseed = 1", "defaults is no table"),
        ("[defaults]\ntemprature = 1", "[defaults] 'temprature' is unknown; did you mean 'temperature'?"),
        ("[defaults]\ntop_k = 1", "[defaults] 'top_k' is unknown; did you mean 'top-k'?"),
        ('[defaults]\ntemperature = "hot"', "[defaults] temperature 'hot': give a number from 0 to 99"),
        ("[defaults]\ntemperature = nan", "temperature nan: give a number"),
        ("[defaults]\nseed = true", "seed true: give a whole number"),
        ("[defaults]\nplain = 1", "plain 1: give on or off"),
        ("[defaults]\nsystem = 1979-05-27", "system 1979-05-27: give a text"),
        ("[defaults]\nseed.x = 1", "seed {'x': 1}: give a whole number"),
        ("[defaults]\nmodel = 'x'", "[defaults] 'model' is unknown"),
        ("[models]\nx = 1", "[models] x is no table"),
        ("[models.x]\nthreads = 0", '[models."x"] threads 0: give a whole number from 1 to 512'),
        ("[personas]\nx = 'You'", "[personas] x is no table: personas are tables, [personas.NAME]"),
        ("[personas.x]\nmodel = 1", "[personas.x] model is no name"),
        ("[personas.x]\nmodle = 'a'", "[personas.x] 'modle' is unknown; did you mean 'model'?"),
        ("[personas.'a b']\nseed = 1", "[personas] 'a b' is no name"),
        ("[personas.'']\nseed = 1", "is no name"),
        (f"[personas.{'x' * 65}]\nseed = 1", "is no name"),
        ("[personas.x]\nsystem = 'a'\nsystem-file = 'b'", "has both system and system-file"),
        ("[defaults]\nsystem-file = 1", "system-file is no path"),
        ('[defaults]\nsystem-file = "a\\u0000b"', "system-file is no path"),
        ('[defaults]\n"\\u001b[31m\\n" = 1', "is unknown"),
    ],
)
def test_a_fault_is_one_line_that_says_where(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(DataError) as error:
        load_settings(path)
    said = str(error.value)
    assert said.startswith(f"{path}: ")
    assert says in said
    assert "\n" not in said
    assert len(said) < len(str(path)) + 400


def test_no_value_whatever_is_anything_but_a_fault() -> None:
    """Random documents of right and wrong keys with values of all kinds: they resolve, or one line says why not."""
    chance = random.Random(6)
    values = [
        "1", "-1", "0.5", "1e400", "nan", "true", '"text"', '"\\u0000\\u202e"', '""', "[]", "[[1], {a = 2}]", "{}",
        "{x = {y = 1}}", "1979-05-27T07:32:00Z", "07:32:00", "9" * 30, "0xffffffffffffffffffffff", "'json'", "'vi'",
    ]  # fmt: skip
    tables = ["", "[defaults]", "[models]", '[models."demo:q4_K_M"]', "[models.demo]", "[personas]", "[personas.x]"]
    keys = [*PARAMETERS, "system-file", "model", "models", "personas", '""', '"a\\nb"', "x.y"]
    resolved = 0
    for _ in range(2000):
        lines = []
        for table in chance.sample(tables, chance.randint(1, 3)):
            lines += [table, *(f"{key} = {chance.choice(values)}" for key in chance.sample(keys, chance.randint(0, 2)))]
        try:
            settings = parse_settings("\n".join(lines), FILE)
            resolve(settings, ["demo:q4_K_M", "demo"], next(iter(settings.personas), None))
            resolved += 1
        except DataError as error:
            assert len(str(error)) < 500
    assert 100 < resolved < 1900


def test_what_is_no_text_file_is_refused_at_once(tmp_path: Path) -> None:
    for name, make in {
        "folder": Path.mkdir,
        "pipe": os.mkfifo,
        "bytes": lambda path: path.write_bytes(b"model = '\xff'"),
        "big": lambda path: path.write_bytes(b"#" * (2 << 20)),
    }.items():
        make(tmp_path / name)
        with pytest.raises(DataError) as error:
            load_settings(tmp_path / name)
        assert str(error.value).startswith(str(tmp_path / name))


def test_a_system_prompt_may_be_in_a_file_of_its_own(tmp_path: Path) -> None:
    settings = parse_settings("[personas.x]\nsystem-file = 'prompts/x.md'", tmp_path / "config.toml")
    with pytest.raises(DataError, match=r"x\.md: no such file \(system-file in .*config\.toml\)"):
        resolve(settings, persona="x")
    resolve(settings)  # nobody asked for it
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "x.md").write_bytes(b"\xef\xbb\xbfBe brief.\n\nAlways.\n")
    assert resolve(settings, persona="x")["system"] == Setting("Be brief.\n\nAlways.", "persona x")
    assert resolve(settings, persona="x", given={"system": "No."})["system"].value == "No."


def test_paths_begin_at_the_file_or_at_home(home: Path) -> None:
    settings = parse_settings("[defaults]\nformat = 's.json'\n[personas.x]\nformat = '~/t.json'", FILE)
    assert resolve(settings)["format"].value == "/home/me/s.json"
    assert resolve(settings, persona="x")["format"].value == str(home / "t.json")
    assert resolve(parse_settings("[defaults]\nformat = 'json'", FILE))["format"].value == "json"


def test_an_empty_system_prompt_takes_the_default_one_away() -> None:
    settings = parse_settings("[defaults]\nsystem = 'Be brief.'\n[models.x]\nsystem = ''", FILE)
    assert resolve(settings, ["x"])["system"] == Setting("", '[models."x"]')


# Choices


def test_a_choice_is_made_and_taken_back() -> None:
    choices = Choices(parse_settings("[defaults]\nseed = 1", FILE), given={"seed": 2})
    new = choices.with_choice("seed", 3)
    assert [c.chosen()["seed"].value for c in (choices, new, new.with_choice("seed", None))] == [2, 3, 1]


def test_another_models_choices_keep_the_persons_own() -> None:
    settings = parse_settings('[models."b"]\nctx = 64\ntemplate = "v1"', FILE)
    first = Choices(settings, given={"seed": 2, "template": "v3"}).for_model(Model("a", Path("a")))
    assert first.chosen()["template"].value == "v3"
    second = first.with_choice("top-k", 1).for_model(Model("b", Path("b")))
    values = {name: setting.value for name, setting in second.chosen().items() if setting.value is not None}
    assert values == {"seed": 2, "top-k": 1, "ctx": 64, "template": "v1"}
    assert first.chosen()["template"].value == "v3"


def test_where_nobody_has_chosen_the_file_has_a_word(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    gguf_samples.write(path, {**gguf_samples.METADATA, "general.sampling.temp": f32(0.25)})
    filled = with_defaults(resolve(parse_settings("", FILE), given={"min-p": 0.5}), path)
    assert filled["temperature"] == Setting(0.25, "the model's file")
    assert filled["top-k"] == Setting(40, "minichat")
    assert filled["min-p"] == Setting(0.5, "command line")
    assert with_defaults(resolve(parse_settings("", FILE)), tmp_path)["temperature"] == Setting(0.7, "minichat")
