"""The parameters as a chat has them: read, changed, and brought from one model's settings to another's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from minichat.choices import with_defaults
from minichat.engine.types import LoadOptions
from minichat.parameters import AUTO, PARAMETERS, TEXT, Value
from minichat.settings import Setting, answer_format, draft_file
from minichat.templates import check_tools, template_of

if TYPE_CHECKING:
    from minichat.engine.types import ModelInfo
    from minichat.models import Model
    from minichat.terminal.chat import Chat
    from minichat.tools.toolbox import Toolbox

SAMPLING = ("temperature", "top-k", "top-p", "min-p", "seed")
# To change one of these is to load the model again.
LOADING = ("ctx", "device", "gpu-layers", "threads", "cache-type", "flash-attention", "draft", "speculation")
IN_CHAT = tuple(name for name, parameter in PARAMETERS.items() if parameter.in_chat)
THIS_CHAT = "this chat"
_NOTHING: dict[str, Value] = {  # what means the same as if nothing had been chosen; of others, "auto"
    "system": "",
    "format": TEXT,
    "keys": "emacs",
    "typeahead": "on",
    "plain": False,
    "cache-type": "f16",
    "speculation": True,
}


def value_in(chat: Chat, name: str) -> Value:
    """The value that holds now; None where it is left to the model, to the machine or to minichat."""
    field = name.replace("-", "_")
    match name:
        case "max-tokens":
            return chat.max_tokens
        case "image-max-tokens" if chat.sight is not None:
            return chat.sight.max_tokens
        case "system":
            return chat.conversation.system or None
        case "format":
            return chat.form.name if chat.form.name != TEXT else None
        case "keys":
            return chat.keys
        case "typeahead":
            return chat.typeahead
        case "plain":
            return chat.plain
    if name in SAMPLING:
        return getattr(chat.sampling, field)  # type: ignore[no-any-return]
    if name in LOADING and name != "draft":  # of which the engine has the file
        value: Value = getattr(chat.load, field)
        return value if value != getattr(LoadOptions(), field) else None
    return chat.choices.chosen()[name].value


def put(chat: Chat, name: str, setting: Setting) -> None:
    """Lets a value hold from now on. What the engine was loaded with is for the caller to load again.

    Raises DataError or SchemaError for the file of a schema that is none; then nothing has changed.
    """
    field, value = name.replace("-", "_"), setting.value
    if name in SAMPLING:
        chat.sampling = replace(chat.sampling, **{field: value})  # type: ignore[arg-type]
        chat.retries = 0
    elif name == "draft":
        chat.load = replace(chat.load, draft=draft_file(str(value)) if value else None)
    elif name in LOADING:
        is_said = value is not None and value != AUTO
        chat.load = replace(chat.load, **{field: value if is_said else getattr(LoadOptions(), field)})  # type: ignore[arg-type]
    elif name == "max-tokens":
        chat.max_tokens = value if isinstance(value, int) else None
    elif name == "image-max-tokens":
        if chat.sight is not None:
            chat.sight.max_tokens = value if isinstance(value, int) else None
    elif name == "system":
        chat.conversation.system = str(value) if value else None
    elif name == "format":
        chat.form = answer_format({name: setting})
    elif name == "keys":
        chat.keys = str(value or "emacs")
    elif name == "typeahead":
        chat.typeahead = str(value or "on")
    elif name == "template" and (model := chat.choices.model) is not None:
        chat.template_of = template_teller(model, setting, chat.toolbox)


def template_teller(model: Model, setting: Setting, toolbox: Toolbox) -> Callable[[ModelInfo], str | None]:
    """What tells the template of a model that has been loaded, as `Chat.template_of`."""

    def tell(info: ModelInfo) -> str | None:
        template = template_of(model, info, str(setting.value) if setting.value is not None else None)
        if toolbox.tools:
            check_tools(template)
        return template

    return tell


def settings_in(chat: Chat) -> dict[str, Setting]:
    """Every parameter as it holds now, with who chose it, and what holds where nobody did."""
    chosen = chat.choices.chosen()
    for name, setting in chosen.items():
        value = value_in(chat, name)
        if not is_same(name, value, setting.value):
            chosen[name] = Setting(value, THIS_CHAT if value is not None else "")
    return with_defaults(chosen, chat.choices.model.path if chat.choices.model is not None else None)


def bring(chat: Chat, before: Mapping[str, Setting], after: Mapping[str, Setting]) -> None:
    """Lets other choices hold, but for what the engine is loaded with, and what the chat has made different meanwhile.

    Raises DataError or SchemaError for the file of a schema that is none; then nothing has changed.
    """
    for name in sorted(IN_CHAT, key=lambda name: name != "format"):  # first what can fail
        is_changed = name not in LOADING and after[name].value != before[name].value
        if is_changed and is_same(name, value_in(chat, name), before[name].value):
            put(chat, name, after[name])


def is_same(name: str, value: Value, other: Value) -> bool:
    """Whether two values mean the same: "" is no system prompt, "text" no format, and so on."""
    nothing = _NOTHING.get(name, AUTO)
    return value == other or {value, other} <= {None, nothing}
