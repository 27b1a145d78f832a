"""What the words on the command line come to."""

from __future__ import annotations

from pathlib import Path

import pytest

from minichat import formats
from minichat.choices import Choices
from minichat.commands.choosing import model_and_prompt, open_model, run_options
from minichat.engine.types import LoadOptions, Sampling
from minichat.models import Model
from minichat.settings import parse_settings
from quant.errors import MinichatError, UsageError


def test_words_are_a_model_and_a_prompt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my model").mkdir()
    for words, default, meant in (
        ((None, None), "small", ("small", None)),
        (("demo", None), "small", ("demo", None)),
        (("demo", "How are you?"), "small", ("demo", "How are you?")),
        (("How are you?", None), "small", ("small", "How are you?")),
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
