"""What a person or a model is told of a value that does not fit a schema: one line, with the place in the value."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from minichat.schema.places import shown

_MAX_LISTED = 12
_NAMES = {
    **dict.fromkeys(("object", "array"), "an {}"),
    "integer": "a whole number",
    "null": "null",
    "boolean": "true or false",
}
_COUNTED = {"Length": "characters", "Items": "items", "Properties": "members", "Contains": "items that fit 'contains'"}
_BOUNDS = {
    "minimum": "{} or more",
    "maximum": "{} or less",
    "exclusiveMinimum": "more than {}",
    "exclusiveMaximum": "less than {}",
    "multipleOf": "a multiple of {}",
}


def verdict(errors: Sequence[Any]) -> str:
    """The outermost and first of jsonschema's ValidationErrors, as `place: what is wrong`."""
    error = min(errors, key=_rank)
    while error.context and error.validator in ("anyOf", "oneOf"):
        # The alternative that the value came closest to: its errors lie deepest. Where none is closer, all are meant.
        deepest = max(len(inner.path) for inner in error.context)
        if deepest == 0:
            break
        error = min((inner for inner in error.context if len(inner.path) == deepest), key=_rank)
    place = ".".join(shown(str(key)) for key in error.absolute_path)
    return shown(f"{place}: {_reason(error)}" if place else _reason(error), 300)


def _rank(error: Any) -> tuple[int, int]:
    return len(error.absolute_path), error.validator in ("anyOf", "oneOf")


def _reason(error: Any) -> str:
    kind, wanted, value = str(error.validator), error.validator_value, error.instance
    if kind == "required":
        return f"'{shown(next(name for name in wanted if name not in value))}' is missing"
    if kind == "additionalProperties":
        known = error.schema.get("properties", {}) if isinstance(error.schema, dict) else {}
        return f"'{shown(error.message)}' is not known" + (f", only {_list(known)} are" if known else "")
    if kind == "enum":
        return f"{_quoted(value)} is none of {_list(wanted)}"
    if kind == "const":
        return f"{_quoted(value)} is not {_quoted(wanted)}"
    if kind == "type":
        return f"{_quoted(value)} is not {_types(wanted)}"
    if kind in _BOUNDS:
        return f"{_quoted(value)} is not {_BOUNDS[kind].format(_quoted(wanted))}"
    if kind[:3] in ("min", "max") and kind[3:] in _COUNTED:
        limit = "fewer" if kind.startswith("min") else "more"
        return f"it has {limit} than {_quoted(wanted)} {_COUNTED[kind[3:]]}"
    if kind == "pattern":
        return f"{_quoted(value)} does not match the pattern {_quoted(wanted)}"
    if kind == "format":
        return f"{_quoted(value)} is not of the format {_quoted(wanted)}"
    if kind == "uniqueItems":
        return "an item is there twice"
    if kind in ("anyOf", "oneOf"):
        return f"{_quoted(value)} fits {'none' if error.context else 'more than one'} of the alternatives"
    if kind == "None":
        return "it must not be there"
    return f"{_quoted(value)} does not fit '{shown(kind)}'"


def _types(wanted: str | list[str]) -> str:
    names = [wanted] if isinstance(wanted, str) else wanted
    return " or ".join(_NAMES.get(name, "a {}").format(name) for name in names)


def _list(values: Iterable[Any]) -> str:
    listed = list(values)
    more = f" and {len(listed) - _MAX_LISTED} more" if len(listed) > _MAX_LISTED else ""
    return ", ".join(shown(v) if isinstance(v, str) else _quoted(v) for v in listed[:_MAX_LISTED]) + more


def _quoted(value: object) -> str:
    if isinstance(value, str):
        return f"'{shown(value)}'"
    return shown(json.dumps(value, ensure_ascii=False))
