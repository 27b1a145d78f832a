"""What the words on the command line come to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from test_store import MANIFEST, add

from minichat import formats
from minichat.choices import Choices
from minichat.commands.choosing import model_and_prompt, open_model, run_options
from minichat.engine.types import LoadOptions, ModelInfo, Sampling
from minichat.manifest import ModelName
from minichat.models import Model
from minichat.settings import parse_settings
from minichat.store import Store
from quant.errors import MinichatError, UsageError


def test_words_are_a_model_and_a_prompt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my model").mkdir()
    (tmp_path / "checkpoint").mkdir()
    store = Store.default()
    add(store, replace(MANIFEST, name="here", tag="best"))
    store.manifest_path(ModelName("broken")).parent.mkdir(parents=True)
    store.manifest_path(ModelName("broken")).write_text("{")
    for words, default, meant in (
        ((None, None), "small", ("small", None)),
        (("demo", None), "small", ("demo", None)),
        (("demo", "How are you?"), "small", ("demo", "How are you?")),
        (("How are you?", None), "small", ("small", "How are you?")),
        (("paris?", None), "small", ("small", "paris?")),
        (("Paris", None), "small", ("small", "Paris")),
        (("either/or?", None), "small", ("small", "either/or?")),
        (("-", None), "small", ("small", "-")),
        (("paris?", None), None, ("paris?", None)),  # an error of the name, later
        (("org/repo", None), "small", ("org/repo", None)),
        (("hf:org/repo:q6_K", None), "small", ("hf:org/repo:q6_K", None)),
        (("https://example.org/x", None), "small", ("https://example.org/x", None)),
        (("Mistral-Small", None), "demo", ("Mistral-Small", None)),
        (("mine:best", None), "small", ("mine:best", None)),
        (("here", None), "small", ("here", None)),
        (("checkpoint", None), "small", ("checkpoint", None)),
        (("broken", None), "small", ("broken", None)),
        (("paris?", "now"), "small", ("paris?", "now")),
        (("How are you?", None), None, ("How are you?", None)),  # an error of the name, later
        (("my model", None), "small", ("my model", None)),
        (("./no model", None), "small", ("./no model", None)),
        (("a model.gguf", None), "small", ("a model.gguf", None)),
        (("a b", "-"), "small", ("a b", "-")),
    ):
        assert model_and_prompt(*words, default) == meant
    with pytest.raises(UsageError, match=r"^no MODEL: name one .*`minichat config --edit` opens$"):
        model_and_prompt(None, None, None)


def test_a_model_is_opened_as_run_finds_it(small_gguf: Path) -> None:
    opened = open_model(str(small_gguf))
    assert opened.model == Model("small.gguf", small_gguf)
    with opened.open_engine(LoadOptions(ctx=64)) as engine:
        assert engine.wait_loaded().ctx == 64
    for name, says in (("no-such", "no model"), ("a b", "no model name"), ("mistral:7b", "cannot be reached")):
        with pytest.raises(MinichatError, match=says):
            open_model(name)


def test_choices_become_what_a_run_takes() -> None:
    settings = parse_settings('[defaults]\nsystem = "Be brief."\nformat = "json"\ntop-k = 2', Path("config.toml"))
    options = run_options(Choices(settings, given={"max_tokens": 5, "ctx": 64, "template": "v3"}), None, True)
    assert (options.system, options.sampling, options.max_tokens) == ("Be brief.", Sampling(top_k=2), 5)
    assert (options.load, options.template, options.allow_tools) == (LoadOptions(ctx=64), "v3", True)
    assert options.form == formats.any_object()
    options = run_options(Choices(settings, given={"system": "", "format": "text"}))
    assert (options.system, options.form, options.template) == (None, formats.TEXT, None)


def test_how_a_model_was_loaded_is_told_where_less_came_of_it_than_was_asked_for() -> None:
    info = ModelInfo("m", "llama", "v3", "recorded", "", 512, 512, 1, 1, 1, 1, 0)
    (told,) = info.remarks(LoadOptions(gpu_layers=99))
    assert told.startswith("--gpu-layers 99 without effect: ")
    assert info.remarks(LoadOptions()) == info.remarks(LoadOptions(gpu_layers=0)) == []
    assert info.remarks(LoadOptions(gpu_layers=9, device="cpu")) == []
    assert replace(info, gpu_layers=9).remarks(LoadOptions(gpu_layers=9)) == []
    assert replace(info, fit="short").remarks(LoadOptions()) == ["short"]
    seeing = replace(info, sees=True, picture_side=1540, picture_patch=28, picture_tokens=55 * 56)
    assert seeing.remarks(LoadOptions()) == []
    assert "pictures of 1,200 tokens" in replace(seeing, picture_tokens=1200).remarks(LoadOptions())[0]
    assert "no room" in replace(seeing, picture_tokens=0).remarks(LoadOptions())[0]
