"""minichat: a local chat program for the terminal that runs Mistral's models from quantized weights.

    from minichat import Chat

    with Chat("demo") as chat:
        for text in chat.say("What is minichat?"):
            print(text, end="", flush=True)

Importing minichat imports nothing else: the program is on the screen at once. What is named here is there when it is
asked for: `Chat` (`minichat.interface`), its `Reply`, what they give, and the errors that they raise (quant/errors.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minichat.engine.types import ModelInfo as ModelInfo
    from minichat.engine.types import Stats as Stats
    from minichat.interface import Chat as Chat
    from minichat.reply import Reply as Reply
    from minichat.template.messages import Message as Message
    from quant.errors import ContextError as ContextError
    from quant.errors import DataError as DataError
    from quant.errors import EngineError as EngineError
    from quant.errors import FitError as FitError
    from quant.errors import MinichatError as MinichatError
    from quant.errors import SchemaError as SchemaError
    from quant.errors import StorageError as StorageError
    from quant.errors import ToolError as ToolError
    from quant.errors import UsageError as UsageError

_ERRORS = (
    *("MinichatError", "UsageError", "DataError", "ContextError", "FitError", "SchemaError", "ToolError"),
    *("StorageError", "EngineError"),
)
_HOMES = {
    "Chat": "minichat.interface",
    "Reply": "minichat.reply",
    "Message": "minichat.template.messages",
    "ModelInfo": "minichat.engine.types",
    "Stats": "minichat.engine.types",
    **dict.fromkeys(_ERRORS, "quant.errors"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'minichat' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
