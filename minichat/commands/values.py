"""What stands behind an option, as a value, without pydantic.

typer (0.29) has pydantic look at every value, which takes 0.1 s to import and to set up: as long as all else that the
front does before a model loads. A text, and a number that is written plainly and within its limits, need no look. All
else goes to typer as ever: it finds the value, or words the error.
"""

from __future__ import annotations

import re
from typing import Any

_PLAIN = {int: re.compile(r"-?[0-9]{1,15}"), float: re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?")}


def plain_value(text: str, kind: Any, low: float | None, high: float | None) -> str | int | float | None:
    """What pydantic would make of `text` for a parameter of a kind and its limits; None where it should be asked.

    >>> plain_value("16", int, 1, None), plain_value("0.5", float, 0, 2), plain_value("-1", int, 0, None)
    (16, 0.5, None)
    """
    if kind is str:
        return text
    if kind not in _PLAIN or not _PLAIN[kind].fullmatch(text):
        return None
    number: int | float = kind(text)
    return number if (low is None or number >= low) and (high is None or number <= high) else None


def read_plainly(command: Any) -> None:
    """Has a command of typer's, with its subcommands, read plain values so. A typer of another kind is left alone."""
    listed = command.get_params  # with --help, which is made when it is first asked for

    def get_params(context: Any) -> list[Any]:
        parameters: list[Any] = listed(context)
        for parameter in parameters:
            if getattr(parameter, "_runtime_param", False) is None and hasattr(parameter, "get_runtime_param"):
                parameter._runtime_param = _Plain()
        return parameters

    command.get_params = get_params
    for one in getattr(command, "commands", {}).values():
        read_plainly(one)


class _Plain:
    """In the place of typer's RuntimeParam."""

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        are_many = param.multiple or param.nargs == -1
        if value is None:
            return () if are_many else None
        descriptor = param.type_descriptor
        if are_many and descriptor.annotation == list[str] and descriptor.parameter_info.parser is None:
            return list(value)
        info = descriptor.parameter_info
        if isinstance(value, str) and info.parser is None:
            plain = plain_value(value, descriptor.annotation, info.min, info.max)
            if plain is not None:
                return plain
        param._runtime_param = None  # typer makes its own
        return param.get_runtime_param().coerce(value, param=param, ctx=ctx)
