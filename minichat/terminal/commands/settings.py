"""/set, /show, /system, /format, /model."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from minichat.choices import shown
from minichat.parameters import JSON, PARAMETERS, TEXT, parameter
from minichat.settings import Setting
from minichat.terminal.commands.command import Command
from minichat.terminal.output import say
from minichat.terminal.sanitize import clean_line
from quant.errors import MinichatError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from minichat.engine.types import LoadOptions
    from minichat.parameters import Value
    from minichat.terminal.chat import Chat

_NAME_AND_VALUE = re.compile(r"([^\s=]+)(?:\s*=\s*|\s+)?(.*)", re.DOTALL)
_DEFAULT = "default"
_NO_SYSTEM = ("-", "none")
_MAX_SHOWN = 60  # characters of a system prompt in a list


def _set(chat: Chat, argument: str) -> bool:
    """NAME VALUE; NAME alone shows, `default` takes back what was said on the command line and here."""
    if not argument:
        return _show(chat, "")
    typed, text = _NAME_AND_VALUE.fullmatch(argument).groups()  # type: ignore[union-attr]
    chosen = parameter(typed)
    if not text:
        say(_line(chat, chosen.name))
        return False
    if not chosen.in_chat:
        raise UsageError(f"{chosen.name} is chosen before the chat begins: by --{chosen.name}, or in config.toml")
    _choose(chat, chosen.name, None if text.lower() == _DEFAULT else chosen.parse(text))
    say(_line(chat, chosen.name), "dim")
    return False


def _choose(chat: Chat, name: str, value: Value) -> None:
    """Lets a value hold from now on, None the default one; nothing changes if it cannot."""
    from minichat.terminal.chosen import LOADING, put

    if name == "format" and value == "-":
        raise UsageError("the schema comes from a file: here, the keys are the chat's")
    choices = chat.choices.with_choice(name, value)
    before = chat.load
    put(chat, name, choices.chosen()[name])
    if name in LOADING and not (name == "ctx" and _is_resized(chat, before)):
        _load_again(chat, before)
    chat.choices = choices


def _is_resized(chat: Chat, before: LoadOptions) -> bool:
    """Gives the model that is loaded another context, if there is one, and a length was named; as before if it cannot.

    What it has read of the conversation is kept so.
    """
    if chat.info is None or chat.load.ctx is None or chat.engine.has_died():
        return False
    try:
        chat.resize(chat.load.ctx)
    except BaseException:
        chat.load = before
        raise
    return True


def _load_again(chat: Chat, before: LoadOptions) -> None:
    """Loads the model with `chat.load`; as it was before if that fails."""
    from minichat.terminal.turn import ready

    chat.keep_warm()  # what has been read comes back from the disk, where that is quicker
    chat.restart()
    try:
        ready(chat)
    except BaseException:
        chat.restart(before)
        raise


def _show(chat: Chat, argument: str) -> bool:
    """Everything, or one parameter."""
    from minichat.terminal.chosen import settings_in
    from minichat.terminal.tables import print_table

    if argument:
        say(_line(chat, parameter(argument).name))
        return False
    for line in _facts(chat):
        say(line)
    settings = settings_in(chat)
    rows = [[name, _brief(name, setting), setting.source] for name, setting in settings.items()]
    print_table(["NAME", "VALUE", "FROM"], rows, wraps=(1,), drop=(2,))
    say("/set NAME VALUE changes one, /set NAME default takes it back; `minichat config --edit` keeps them", "dim")
    return False


def _facts(chat: Chat) -> Iterable[str]:
    template = chat.conversation.template
    about = f"template {template}" if template else ("no template" if chat.info is not None else "still loading")
    yield f"model    {clean_line(chat.model_name)}, {about}"
    if chat.info is not None:
        used = f"{chat.used:,} of " if chat.used is not None else ""
        yield f"context  {used}{chat.info.ctx:,} tokens; the model was trained for {chat.info.ctx_train:,}"
    if chat.choices.persona is not None:
        yield f"persona  {chat.choices.persona}"
    yield f"session  {clean_line(chat.session.name)}" if chat.session is not None else "session  kept nowhere"


def _line(chat: Chat, name: str) -> str:
    from minichat.terminal.chosen import settings_in

    return shown(name, settings_in(chat)[name])


def _brief(name: str, setting: Setting) -> str:
    text = " ".join(PARAMETERS[name].shown(setting.value).split())
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 1] + "…"


def _system(chat: Chat, argument: str) -> bool:
    """Shows it, sets it, or (`-`, `none`) removes it."""
    if not argument:
        say(chat.conversation.system or "no system prompt (/system TEXT sets one)")
        return False
    is_none = argument.lower() in _NO_SYSTEM
    _choose(chat, "system", "" if is_none else argument)
    say("no system prompt from now on" if is_none else "the system prompt holds from the next answer on", "dim")
    return False


def _format(chat: Chat, argument: str) -> bool:
    """text, json, or the file of a JSON Schema."""
    if argument:
        _choose(chat, "format", PARAMETERS["format"].parse(argument))
    without = ", and no tools are called" if chat.form.grammar and chat.toolbox.tools else ""
    say(f"answers are {clean_line(chat.form.name)}{without} (/format text, json, or FILE of a JSON Schema)", "dim")
    return False


def _model(chat: Chat, argument: str) -> bool:
    """Shows which it is, or goes on with another one."""
    if argument:
        from minichat.terminal.switching import switch_model
        from minichat.terminal.turn import ready

        switch_model(chat, argument)
        ready(chat)
        say(f"{chat.model_name} goes on with this chat", "dim")
    else:
        say(f"{chat.model_name} (/model NAME goes on with another one)")
    return False


def _set_words(chat: Chat, typed: str) -> Iterable[str]:
    """Names; behind a name that has words for values, those."""
    name, blank, value = typed.partition(" ")
    if not blank:
        return _starting(typed, (name for name, parameter in PARAMETERS.items() if parameter.in_chat))
    found = PARAMETERS.get(name.lower())
    if found is None or not found.in_chat:
        return []
    value, known = value.lstrip(), (*found.choices, *([found.word] if found.word else []))
    words = _formats(chat, value) if found.kind == "form" else _starting(value, known)
    return [f"{name} {word}" for word in (*words, *_starting(value, [_DEFAULT]))]


def _names(chat: Chat, typed: str) -> Iterable[str]:  # noqa: ARG001
    return _starting(typed, PARAMETERS)


def _formats(chat: Chat, typed: str) -> Iterable[str]:  # noqa: ARG001
    from minichat.terminal.paths import complete_path

    return [*_starting(typed, (TEXT, JSON)), *complete_path(typed)]


def model_names(chat: Chat, typed: str) -> Iterable[str]:  # noqa: ARG001
    """Models that are here, then those that could be fetched; none where they cannot be told."""
    from minichat.catalog import load_catalog
    from minichat.demos import demos
    from minichat.store import Store

    try:
        here = [manifest.full_name for manifest in Store.default().models()]
        known = [name for entry in load_catalog().entries for name in (entry.family, entry.short_name)]
    except (MinichatError, OSError):
        return _starting(typed, demos())
    return _starting(typed, dict.fromkeys([*here, *demos(), *known]))


def _starting(typed: str, words: Iterable[str]) -> list[str]:
    return [word for word in words if word.lower().startswith(typed.lower())]


COMMANDS: tuple[Command, ...] = (
    Command("set", "[NAME VALUE]", "temperature, top-k, seed, max-tokens …; default takes it back", _set, _set_words),
    Command("show", "[NAME]", "what is set, and where it comes from", _show, _names),
    Command("system", "[TEXT]", "the system prompt; - removes it", _system),
    Command("model", "[NAME]", "go on with another model", _model, model_names),
    Command("format", "[text|json|FILE]", "the form of answers; FILE: JSON Schema", _format, _formats),
)
