"""/set, /show, /system, /format, /model."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import gguf_samples
import pytest
from fake_engine import FakeEngine

from convert.gguf_writer import strings
from minichat.choices import Choices
from minichat.conversation import Conversation
from minichat.engine.client import Engine
from minichat.engine.types import LoadOptions, ModelInfo, Sampling, Stats, stamp_of
from minichat.manifest import Manifest
from minichat.models import Model
from minichat.parameters import PARAMETERS
from minichat.settings import Setting, load_options, parse_settings, sampling
from minichat.template.messages import Call, Message
from minichat.terminal import parking
from minichat.terminal.chat import Chat, Opened
from minichat.terminal.chosen import put, settings_in, value_in
from minichat.terminal.commands import dispatch, parse, settings
from minichat.terminal.turn import ask
from quant.errors import DataError, EngineError, FitError, GgufError, MinichatError, UsageError

SETTINGS = """
[defaults]
top-k = 7
[models.first]
temperature = 0.4
system = "I am the first."
[models.second]
temperature = 0.6
ctx = 2048
[personas.coder]
seed = 5
"""
FIRST, SECOND = Model("first:q4_K_M", Path("first.gguf")), Model("second:q4_K_M", Path("second.gguf"))
TALK = [Message("user", "Hi"), Message("assistant", "Hello.", (1, 2, 3))]
CALLED = [
    Message("user", "Hi"),
    Message("assistant", "", calls=(Call("123456789", "f", "{}"),)),
    Message("tool", "x", call_id="123456789", name="f"),
]


def engine(log: list[str], name: str, failure: MinichatError | None = None, **info: Any) -> FakeEngine:
    made = FakeEngine(["Yes."])
    told, closed = made.wait_loaded, made.close

    def wait_loaded(on_progress: Callable[[float], None] | None = None) -> ModelInfo:
        if failure is not None:
            raise failure
        return replace(told(on_progress), **info)

    def close() -> None:
        if not made.closed:
            log.append(f"-{name}")
        closed()

    made.wait_loaded = wait_loaded  # type: ignore[method-assign]
    made.close = close  # type: ignore[method-assign]
    log.append(f"+{name}")
    return made


def chat_with(log: list[str], given: dict[str, Any] | None = None, toml: str = SETTINGS, **fields: Any) -> Chat:
    choices = Choices(parse_settings(toml, Path("config.toml")), fields.pop("persona", None), given or {})
    choices = choices.for_model(FIRST, "first")
    chosen = choices.chosen()

    def open_engine(load: LoadOptions) -> Any:
        return engine(log, f"first {load.ctx}")

    chat = Chat(
        engine=open_engine(load_options(chosen)),
        open_engine=open_engine,
        conversation=Conversation("v7-tekken", str(chosen["system"].value or "") or None),
        sampling=sampling(chosen),
        max_tokens=None,
        model_name=FIRST.name,
        history_path=None,
        load=load_options(chosen),
        choices=choices,
        **fields,
    )
    chat.info = chat.engine.wait_loaded()
    return chat


def say(chat: Chat, *lines: str) -> None:
    for line in lines:
        command = parse(line)
        assert command is not None
        assert not dispatch(chat, *command)


def source(chat: Chat, name: str) -> tuple[object, str]:
    setting = settings_in(chat)[name]
    return setting.value, setting.source


def test_set_changes_what_the_next_answer_is_drawn_with(capsys: pytest.CaptureFixture[str]) -> None:
    chat = chat_with([], {"temperature": 0.1, "top_k": None})
    assert (source(chat, "temperature"), source(chat, "top-k")) == ((0.1, "command line"), (7, "[defaults]"))
    say(chat, "/set temperature 0.2", "/set top-p=0.5", "/set MIN_P = 0.1", "/set --seed 9", "/set max-tokens 50")
    assert chat.sampling == Sampling(0.2, 7, 0.5, 0.1, 9)
    assert chat.max_tokens == 50
    assert source(chat, "temperature") == (0.2, "/set")
    say(chat, "/set temperature default", "/set max-tokens DEFAULT", "/set seed default")
    assert chat.sampling == Sampling(0.4, 7, 0.5, 0.1, None)  # what the command line said is taken back, too
    assert chat.max_tokens is None
    shown = capsys.readouterr().out
    assert "temperature 0.2 (/set)\n" in shown
    assert 'temperature 0.4 ([models."first"])\n' in shown
    assert "seed a new one for each answer (minichat)\n" in shown


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("/set temperature hot", "temperature 'hot': give a number from 0 to 99"),
        ("/set temperature nan", "a number from 0 to 99"),
        ("/set top-p 0", "above 0, up to 1"),
        ("/set seed -1", "from 0 to 4294967295"),
        ("/set seed 1.5", "a whole number"),
        ("/set temprature 1", "did you mean 'temperature'?"),
        ("/set plain on", "before the chat begins"),
        ("/set keys nano", "one of emacs, vi"),
        ("/set format nowhere.json", "nowhere.json"),
        ("/set format -", "from a file"),
        ("/show nonsense", "no parameter 'nonsense'"),
        ("/format -", "from a file"),
        ("/model other", "cannot be changed"),
    ],
)
def test_what_cannot_be_set_changes_nothing(line: str, says: str) -> None:
    chat = chat_with([])
    before = {name: value_in(chat, name) for name in PARAMETERS}
    with pytest.raises(MinichatError, match=r".*") as error:
        say(chat, line)
    assert says in str(error.value)
    assert "\n" not in str(error.value)
    assert {name: value_in(chat, name) for name in PARAMETERS} == before
    assert chat.choices.typed == {}


def test_every_parameter_is_shown_with_where_it_comes_from(capsys: pytest.CaptureFixture[str]) -> None:
    chat = chat_with([], persona="coder")
    chat.conversation.system = "another\x1b[31m " + "one " * 100  # a session that was loaded
    say(chat, "/show")
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "first:q4_K_M, template v7-tekken" in shown
    assert "persona  coder" in shown
    rows = {line.split()[0]: line.split() for line in shown.splitlines() if line.split()[0] in PARAMETERS}
    assert rows["seed"] == ["seed", "5", "persona", "coder"]
    assert rows["top-k"] == ["top-k", "7", "[defaults]"]
    assert rows["top-p"] == ["top-p", "0.95", "minichat"]
    assert rows["system"][-2:] == ["this", "chat"]
    assert rows.keys() == PARAMETERS.keys()
    say(chat, "/set", "/set seed", "/show seed")
    assert capsys.readouterr().out.endswith("seed 5 (persona coder)\n" * 2)


def test_system_is_shown_set_and_removed(capsys: pytest.CaptureFixture[str]) -> None:
    chat = chat_with([])
    say(chat, "/system")
    assert capsys.readouterr().out == "I am the first.\n"
    say(chat, "/system Be brief.\nAlways.")
    assert chat.conversation.system == "Be brief.\nAlways."
    for line in ("/system -", "/set system x", "/system none"):
        say(chat, line)
    assert chat.conversation.system is None
    assert source(chat, "system") == ("", "/set")
    say(chat, "/system", "/set system default")
    assert chat.conversation.system == "I am the first."
    assert "no system prompt (/system TEXT sets one)\n" in capsys.readouterr().out


def test_format_is_a_parameter_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chat = chat_with([])
    (tmp_path / "s.json").write_text('{"type": "object"}')
    say(chat, f"/set format {tmp_path}/s.json")
    assert chat.form.name == f"{tmp_path}/s.json"
    say(chat, "/format JSON")
    assert (chat.form.name, source(chat, "format")) == ("json", ("json", "/set"))
    say(chat, "/set format default", "/format")
    assert chat.form.grammar is None
    assert capsys.readouterr().out.endswith("answers are text (/format text, json, or FILE of a JSON Schema)\n")


def test_a_parameter_of_loading_loads_again_and_comes_back_if_that_fails() -> None:
    log: list[str] = []
    chat = chat_with(log)
    chat.open_engine = lambda load: engine(log, f"first {load.threads}")  # type: ignore[assignment,return-value]
    say(chat, "/set threads 5")
    assert (chat.load.threads, log) == (5, ["+first None", "-first None", "+first 5"])
    failing = GgufError("no memory for it")
    chat.open_engine = lambda load: engine(log, f"first {load.threads}", failing if load.threads == 6 else None)  # type: ignore[assignment,return-value]
    with pytest.raises(GgufError):
        say(chat, "/set threads 6")
    assert (chat.load.threads, log[3:]) == (5, ["-first 5", "+first 6", "-first 6", "+first 5"])
    assert source(chat, "threads") == (5, "/set")


def test_a_context_changes_without_another_engine_and_comes_back_if_that_fails() -> None:
    log: list[str] = []
    chat = chat_with(log)
    say(chat, "/set ctx 512")
    assert chat.info is not None
    assert (chat.load.ctx, chat.info.ctx, log) == (512, 512, ["+first None"])
    with pytest.raises(FitError):
        say(chat, "/set ctx 100001")
    assert (chat.load.ctx, chat.info.ctx) == (512, 512)
    assert source(chat, "ctx") == (512, "/set")
    say(chat, "/set ctx auto")
    assert (chat.load.ctx, log) == (None, ["+first None", "-first None", "+first None"])
    assert source(chat, "ctx") == ("auto", "/set")


def test_another_template_holds_from_the_next_answer() -> None:
    chat = chat_with([])
    assert chat.info is not None
    say(chat, "/set template v3")
    assert chat.template_of(chat.info) == "v3"
    say(chat, "/set template default")
    assert chat.template_of(chat.info) == "v7-tekken"


def test_values_can_be_put_and_read_back() -> None:
    chat = chat_with([])
    values = {"temperature": 0.3, "top-k": 3, "top-p": 0.4, "min-p": 0.2, "seed": 1, "max-tokens": 9, "system": "S"}
    values |= {"format": "json", "ctx": 64, "device": "cpu", "gpu-layers": 0, "threads": 2, "keys": "vi"}
    for name, value in values.items():
        put(chat, name, Setting(value, "x"))
        assert value_in(chat, name) == value
        put(chat, name, Setting())
        assert value_in(chat, name) in (None, "emacs")


# /model


def opening(log: list[str], *engines: Callable[[LoadOptions], Any], model: Model = SECOND) -> Callable[[str], Opened]:
    made = iter(engines)

    def open_model(name: str) -> Opened:
        if name != "second":
            raise DataError(f"no model {name!r}")
        return Opened(model, lambda load: next(made)(load) if engines else engine(log, f"second {load.ctx}"))  # type: ignore[arg-type,return-value]

    return open_model


def state(chat: Chat) -> tuple[object, ...]:
    return (
        chat.engine, chat.model_name, chat.load, chat.sampling, chat.choices, list(chat.conversation.messages),
        chat.conversation.system, chat.conversation.template, chat.template_of, chat.open_engine, chat.form,
    )  # fmt: skip


@pytest.fixture
def roomy(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The bytes of memory that are free: much."""
    free = [1 << 40]
    monkeypatch.setattr("minichat.machine.available_bytes", lambda: free[0])
    yield free


@pytest.mark.usefixtures("roomy")
def test_another_model_goes_on_with_the_conversation(capsys: pytest.CaptureFixture[str]) -> None:
    log: list[str] = []
    chat = chat_with(log, {"template": "v3", "top_p": 0.5}, open_model=opening(log))
    chat.stats = Stats(1, 0, 1, 0, 0, 0, 2, 1)
    chat.conversation.messages[:] = TALK
    say(chat, "/model second")
    assert log == ["+first None", "+second 2048"]  # and the old one stays, for the way back
    assert chat.model_name == SECOND.name
    assert chat.conversation.messages == [TALK[0], replace(TALK[1], tokens=None)]  # another vocabulary
    assert (chat.sampling.temperature, chat.load.ctx, chat.sampling.top_p) == (0.6, 2048, 0.5)
    assert chat.conversation.system is None  # it was the first model's own
    assert chat.conversation.template == "v7-tekken"  # --template was about the first model
    assert chat.info is not None
    assert chat.stats is None
    chat.restart()
    assert log[2:] == ["-first None", "-second 2048", "+second 2048"]  # what is loaded anew has all the memory
    say(chat, "/model")
    assert capsys.readouterr().out.startswith("second:q4_K_M goes on with this chat\nsecond:q4_K_M (/model NAME")


def test_what_the_chat_made_different_stays_with_another_model() -> None:
    chat = chat_with([], open_model=opening([]))
    chat.conversation.system = "From a session."
    say(chat, "/set temperature 0.9", "/model second")
    assert (chat.sampling.temperature, chat.conversation.system) == (0.9, "From a session.")


def test_tokens_stay_where_the_vocabulary_is_the_same(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.gguf" for name in "abc"]
    for path, tokens in zip(paths, (["a", "b"], ["a", "b"], ["a", "c"]), strict=True):
        gguf_samples.write(path, {**gguf_samples.METADATA, "tokenizer.ggml.tokens": strings(tokens)})
    for path, kept in ((paths[1], (1, 2, 3)), (paths[2], None)):
        chat = chat_with([], open_model=opening([], model=Model("second", path)))
        chat.choices = replace(chat.choices, model=Model("first", paths[0]))
        chat.conversation.messages[:] = TALK
        say(chat, "/model second")
        assert chat.conversation.messages[1].tokens == kept


@pytest.mark.parametrize(
    ("info", "failure", "says"),
    [
        ({}, DataError("damaged"), "damaged"),
        ({"template": "v1"}, None, "cannot go on with this conversation: "),
        ({"template": None, "template_how": "base"}, None, "is a base model"),
        ({"template": None, "template_how": "unknown"}, None, "--template names it"),
        ({"template": "v99"}, None, "v99"),
    ],
)
def test_a_model_that_cannot_go_on_leaves_all_as_it_was(
    info: dict[str, Any], failure: MinichatError | None, says: str
) -> None:
    log: list[str] = []
    chat = chat_with(log, open_model=opening(log, lambda _: engine(log, "second", failure, **info)))
    chat.conversation.messages[:] = CALLED if info.get("template") == "v1" else TALK
    before = state(chat)
    with pytest.raises(MinichatError) as error:
        say(chat, "/model second")
    assert says in str(error.value)
    assert state(chat) == before
    assert log == ["+first None", "+second", "-second"]


def test_a_wrong_schema_in_the_new_models_settings_leaves_all_as_it_was(tmp_path: Path) -> None:
    toml = SETTINGS.replace("ctx = 2048", f'format = "{tmp_path}/nowhere.json"')
    log: list[str] = []
    chat = chat_with(log, toml=toml, open_model=opening(log))
    before = state(chat)
    with pytest.raises(DataError, match="nowhere"):
        say(chat, "/model second")
    assert state(chat) == before
    assert log[-1] == "-second None"


def test_a_name_that_is_no_model_and_ctrl_c_leave_all_as_it_was() -> None:
    log: list[str] = []

    def interrupted(load: LoadOptions) -> Any:
        made = engine(log, "second")
        made.wait_loaded = lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)  # type: ignore[method-assign]
        return made

    chat = chat_with(log, open_model=opening(log, interrupted))
    before = state(chat)
    with pytest.raises(DataError):
        say(chat, "/model nonsense")
    with pytest.raises(KeyboardInterrupt):
        say(chat, "/model second")
    assert state(chat) == before
    assert log == ["+first None", "+second", "-second"]


def test_where_two_models_do_not_go_together_the_old_one_goes_first(capsys: pytest.CaptureFixture[str]) -> None:
    log: list[str] = []
    full = EngineError("the engine died: SIGKILL")
    loads = [lambda _: engine(log, "second 1", full), lambda _: engine(log, "second 2")]
    chat = chat_with(log, open_model=opening(log, *loads))
    say(chat, "/model second")
    assert log == ["+first None", "+second 1", "-second 1", "-first None", "+second 2"]
    assert chat.model_name == SECOND.name
    assert "once more, without first:q4_K_M in memory" in " ".join(capsys.readouterr().out.split())


def test_where_the_new_model_does_not_fit_at_all_the_old_one_comes_back() -> None:
    log: list[str] = []
    full = EngineError("no memory for the context")
    chat = chat_with(log, open_model=opening(log, *[lambda _: engine(log, "second", full)] * 2))
    before = state(chat)
    with pytest.raises(EngineError):
        say(chat, "/model second")
    assert log[-3:] == ["+second", "-second", "+first None"]
    assert state(chat)[1:] == before[1:]


def test_the_old_model_comes_back_where_the_new_one_fits_but_cannot_go_on() -> None:
    log: list[str] = []
    full = EngineError("no memory for the context")
    loads = [lambda _: engine(log, "second", full), lambda _: engine(log, "second", template="v99")]
    chat = chat_with(log, open_model=opening(log, *loads))
    before = state(chat)
    with pytest.raises(DataError, match="v99"):
        say(chat, "/model second")
    assert log[-4:] == ["-first None", "+second", "-second", "+first None"]
    assert state(chat)[1:] == before[1:]


def test_the_same_model_is_not_loaded_again() -> None:
    log: list[str] = []
    chat = chat_with(log, open_model=opening(log, model=FIRST))
    say(chat, "/model second")
    assert log == ["+first None"]


# The model before


def there_and_back(log: list[str], first: Model = FIRST) -> Chat:
    """A chat that can go to a second model, and to a third, and back to the first."""
    models = {"first": first, "second": SECOND, "third": Model("third", Path("third.gguf"))}
    return chat_with(
        log,
        open_model=lambda name: Opened(models[name], lambda load: engine(log, f"{name} {load.ctx}")),  # type: ignore[arg-type,return-value]
    )


@pytest.mark.usefixtures("roomy")
def test_the_way_back_loads_nothing_and_finds_the_tokens_again() -> None:
    log: list[str] = []
    chat = there_and_back(log)
    first = chat.engine
    chat.conversation.messages[:] = TALK
    say(chat, "/model second")
    chat.conversation.messages += [Message("user", "More"), Message("assistant", "Yes", (7,))]
    say(chat, "/model first")
    assert log == ["+first None", "+second 2048"]
    assert (chat.engine, chat.model_name) == (first, FIRST.name)
    kept = [message.tokens for message in chat.conversation.messages]
    assert kept == [None, TALK[1].tokens, None, None]  # its own ids, and none of the other model's
    say(chat, "/model second")
    assert chat.conversation.messages[3].tokens == (7,)
    assert log == ["+first None", "+second 2048"]


@pytest.mark.usefixtures("roomy")
def test_one_model_is_kept_and_no_more() -> None:
    log: list[str] = []
    chat = there_and_back(log)
    say(chat, "/model second", "/model third")
    assert sorted(log) == ["+first None", "+second 2048", "+third None", "-first None"]
    say(chat, "/model first")
    assert sorted(log[4:]) == ["+first None", "-second 2048"]


def test_a_model_is_not_kept_where_memory_is_short(roomy: list[int]) -> None:
    log: list[str] = []
    chat = there_and_back(log)
    roomy[0] = parking.SPARE_BYTES - 1
    say(chat, "/model second")
    assert (log[2:], chat.parked) == (["-first None"], None)
    roomy[0] = 1 << 40
    say(chat, "/model first")
    assert log[3:] == ["+first None"]
    parking.give_way(chat, chat.info)
    assert chat.parked is not None
    roomy[0] = 0  # something else took it since
    parking.give_way(chat, chat.info)
    assert log[4:] == ["-second 2048"]


@pytest.mark.usefixtures("roomy")
def test_a_model_that_is_to_be_loaded_in_another_way_is_loaded_anew() -> None:
    log: list[str] = []
    chat = there_and_back(log)
    say(chat, "/model second", "/set threads 3", "/model first")
    assert log[2:] == ["-first None", "-second 2048", "+second 2048", "+first None"]
    assert chat.load.threads == 3


@pytest.mark.usefixtures("roomy")
def test_a_file_that_was_replaced_meanwhile_is_loaded_anew(tmp_path: Path) -> None:
    file, log = tmp_path / "first.gguf", list[str]()
    file.write_bytes(b"old")
    chat = there_and_back(log, Model("first", file))
    assert chat.info is not None
    chat.choices, chat.info = (
        replace(chat.choices, model=Model("first", file)),
        replace(chat.info, stamp=stamp_of(file)),
    )
    say(chat, "/model second", "/model first")
    assert log == ["+first None", "+second 2048"]
    say(chat, "/model second")
    (tmp_path / "new").write_bytes(b"new")
    (tmp_path / "new").replace(file)
    say(chat, "/model first")
    assert sorted(log[2:]) == ["+first None", "-first None"]


@pytest.mark.usefixtures("roomy")
def test_a_longer_context_has_the_memory_of_the_model_that_is_kept() -> None:
    log: list[str] = []
    chat = there_and_back(log)
    say(chat, "/model second", "/set ctx 4096")
    assert (log[2:], chat.parked) == (["-first None"], None)


def test_a_ctrl_c_while_the_old_engine_ends_leaves_the_chat_with_the_new_one(
    roomy: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = there_and_back([])
    before = chat.engine
    roomy[0] = 0  # the old one is not kept

    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(before, "close", interrupted)
    with pytest.raises(KeyboardInterrupt):
        say(chat, "/model second")
    assert (chat.model_name, chat.load.ctx, chat.engine is not before) == (SECOND.name, 2048, True)


@pytest.mark.usefixtures("roomy")
def test_a_way_back_that_cannot_be_gone_keeps_the_model() -> None:
    log: list[str] = []
    chat = there_and_back(log)
    say(chat, "/model second")
    parked, before = chat.parked, state(chat)
    chat.conversation.template = "v99"  # no template takes the conversation over
    assert parked is not None
    object.__setattr__(parked, "info", replace(parked.info, template=None, template_how="base"))
    chat.conversation.messages[:] = TALK
    with pytest.raises(DataError, match="is a base model"):
        say(chat, "/model first")
    assert (chat.parked, chat.engine) == (parked, before[0])


def test_what_fits_less_beside_the_old_model_is_loaded_without_it() -> None:
    log: list[str] = []
    loads = [
        lambda _, n=n: engine(log, f"second {n}", fit="a context of 512 tokens fits" if n == 1 else "") for n in (1, 2)
    ]
    chat = chat_with(log, open_model=opening(log, *loads))
    say(chat, "/model second")
    assert log == ["+first None", "+second 1", "-second 1", "-first None", "+second 2"]


# completion


def test_completion_knows_names_and_words(tmp_path: Path) -> None:
    chat = chat_with([])
    (tmp_path / "person.json").write_text("{}")

    def words(name: str, typed: str) -> list[str]:
        complete = next(command.complete for command in settings.COMMANDS if command.name == name)
        assert complete is not None
        return list(complete(chat, typed))

    assert words("set", "Te") == ["temperature", "template"]
    assert "top-k" in words("set", "")
    assert "plain" not in words("set", "")
    assert words("set", "ctx ") == [*words("set", "ctx A"), "ctx default"] == ["ctx auto", "ctx default"]
    assert words("set", "gpu-layers a") == ["gpu-layers auto"]
    assert words("show", "pl") == ["plain"]
    assert words("set", "keys ") == ["keys emacs", "keys vi", "keys default"]
    assert words("set", "keys  v") == ["keys vi"]
    assert words("set", "seed d") == ["seed default"]
    assert words("set", "nonsense x") == []
    assert words("format", "j") == ["json"]
    assert words("format", f"{tmp_path}/p") == [f"{tmp_path}/person.json"]
    assert words("set", f"format {tmp_path}/p") == [f"format {tmp_path}/person.json"]
    assert words("model", "MISTRAL-small:22") == ["mistral-small:22b"]
    assert {"demo", "mistral-small"} <= set(words("model", ""))


def test_a_damaged_catalog_spoils_no_completion(home: Path) -> None:
    folder = home / "minichat"
    folder.mkdir()
    (folder / "catalog.toml").write_text("nonsense")
    assert list(settings.model_names(chat_with([]), "")) == ["demo", "demo-vision"]


def test_a_manifests_advice_is_the_catalogs() -> None:
    manifest = Manifest("x", "q", "b", 1, "q4_K_M", "llama", None, 1, 1, "", "", "", temperature=0.15)
    assert Choices().for_model(Model("x:q", Path("x"), manifest)).chosen()["temperature"] == Setting(
        0.15, "the catalog"
    )


def test_usage_error_is_what_wrong_words_are() -> None:
    with pytest.raises(UsageError):
        say(chat_with([]), "/set device tpu")


def test_real_models_take_a_conversation_over(small_gguf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same model under a second name; one that is damaged, and a context that is too long, leave all as it was."""
    twin = small_gguf.with_name("twin.gguf")
    shutil.copy(small_gguf, twin)
    broken = small_gguf.with_name("broken.gguf")
    broken.write_bytes(small_gguf.read_bytes()[:5000])
    models = {"small": Model("small.gguf", small_gguf), "twin": Model("twin.gguf", twin), "broken": Model("b", broken)}

    def open_model(name: str) -> Opened:
        return Opened(models[name], partial(Engine, models[name].path))

    first = models["small"]
    chat = Chat(
        engine=Engine(small_gguf, LoadOptions(ctx=256)),
        open_engine=partial(Engine, small_gguf),
        conversation=Conversation(None),
        sampling=Sampling(0, seed=1),
        max_tokens=4,
        model_name=first.name,
        history_path=None,
        choices=Choices(given={"temperature": 0, "max-tokens": 4, "ctx": 256}).for_model(first),
        open_model=open_model,
        load=LoadOptions(ctx=256),
    )
    try:
        ask(chat, "Hi")
        tokens = chat.conversation.messages[-1].tokens
        assert tokens is not None
        say(chat, "/model twin")
        assert chat.conversation.messages[-1].tokens == tokens
        ask(chat, "And?")
        assert (len(chat.conversation.messages), chat.model_name) == (4, "twin.gguf")
        engine = chat.engine
        with pytest.raises(DataError):
            say(chat, "/model broken")
        with pytest.raises(UsageError, match="at most"):
            say(chat, "/set ctx 1000000")
        say(chat, "/set ctx 512")
        ask(chat, "And?")
        assert chat.info is not None
        assert (chat.info.ctx, len(chat.conversation.messages)) == (512, 6)
        assert engine is chat.engine
    finally:
        chat.engine.close()
