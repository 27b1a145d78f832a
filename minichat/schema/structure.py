"""Whether a JSON value is a JSON Schema at all: every keyword holds what its draft's metaschema wants of it.

On top of the metaschemas: references stay inside the schema and lead to schemas, patterns are ones that minichat can
search for, nothing names another draft or base halfway, and size and depth have bounds.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any, TypeGuard

from minichat.schema import keywords
from minichat.schema.nfa import search
from minichat.schema.pattern import PatternError
from minichat.schema.places import below, refuse, shown
from quant.errors import SchemaError

MAX_SCHEMAS, MAX_DEPTH, MAX_VALUES = 20_000, 60, 200_000

Schema = dict[str, Any] | bool


def draft_of(schema: object) -> str:
    """The draft that `$schema` names, e.g. "draft7"; the latest where it is not there. Raises SchemaError."""
    if not isinstance(schema, dict) or "$schema" not in schema:
        return keywords.LATEST
    name = schema["$schema"]
    draft = keywords.DRAFTS.get(name.rstrip("#")) if isinstance(name, str) else None
    if draft is None:
        known = ", ".join(name.removeprefix("draft") for name in keywords.DRAFTS.values())
        refuse("#", f"the '$schema' {_text(name)} is not known; known drafts: {known}")
    return draft


def is_schema(value: object) -> TypeGuard[Schema]:
    return isinstance(value, (dict, bool))


def schemas_of(schema: object, draft: str) -> dict[str, Schema]:
    """Each schema in a schema by its place, outer ones first: `#`, `#/properties/age`, ...

    Raises SchemaError for the first thing that is wrong.
    """
    _check_size(schema)
    found: dict[str, Schema] = {}
    todo: list[tuple[str, object, int]] = [("#", schema, 0)]
    while todo:
        place, value, depth = todo.pop()
        if not is_schema(value):
            refuse(place, "a schema must be an object, true or false")
        if depth > MAX_DEPTH:
            refuse(place, f"schemas are nested more than {MAX_DEPTH} deep")
        if len(found) >= MAX_SCHEMAS:
            raise SchemaError(f"the schema is made of more than {MAX_SCHEMAS:,} schemas")
        found[place] = value
        if isinstance(value, dict):
            inner = [(below(place, *path), one, depth + 1) for path, one in _inside(place, value, draft)]
            _check_keywords(place, value, draft)
            todo += reversed(inner)
    for place, value in found.items():
        if isinstance(value, dict) and "$ref" in value:
            _check_reference(place, value["$ref"], found)
    return found


def target(reference: str) -> str:
    """The place that a `$ref` of this schema names.

    >>> target("#/%24defs/a")
    '#/$defs/a'
    """
    if "%" not in reference:
        return reference
    # Not urllib's `unquote`: what is near the network stays with the hub.
    raw = re.sub(
        rb"%([0-9A-Fa-f]{2})", lambda found: bytes.fromhex(found[1].decode()), reference.encode(errors="replace")
    )
    return raw.decode(errors="replace")


def _check_size(schema: object) -> None:
    """Counts the values without recursion: what follows may use it. Raises SchemaError."""
    todo, count = [(schema, 0)], 0
    while todo:
        value, depth = todo.pop()
        count += 1
        if count > MAX_VALUES or depth > 4 * MAX_DEPTH:
            raise SchemaError("the schema is too large" if count > MAX_VALUES else "the schema is nested too deeply")
        if isinstance(value, dict):
            if not all(isinstance(key, str) for key in value):
                raise SchemaError("the schema has a name that is no string")
            todo += [(one, depth + 1) for one in value.values()]
        elif isinstance(value, list):
            todo += [(one, depth + 1) for one in value]
        elif isinstance(value, float) and not math.isfinite(value):
            raise SchemaError(f"the schema has a number that JSON cannot write: {value}")
        elif value is not None and not isinstance(value, (str, int, float)):
            raise SchemaError("the schema is no JSON value")


def _inside(place: str, schema: dict[str, Any], draft: str) -> Iterator[tuple[tuple[str | int, ...], object]]:
    """The schemas directly in a schema, by their keys from there."""
    for name, value in schema.items():
        if name in keywords.ONE_SCHEMA or (name == "items" and not isinstance(value, list)):
            yield (name,), value
        elif name in keywords.SCHEMAS or name == "items":
            if not isinstance(value, list) or not value:
                refuse(below(place, name), "it must be a list of schemas, and not an empty one")
            if name == "items" and draft == keywords.LATEST:
                refuse(below(place, name), "a list of schemas is written 'prefixItems' in this draft")
            yield from (((name, i), one) for i, one in enumerate(value))
        elif name in keywords.NAMED_SCHEMAS or name == "dependencies":
            if not isinstance(value, dict):
                refuse(below(place, name), "it must be an object of schemas")
            for key, one in value.items():
                if name == "dependencies" and isinstance(one, list):
                    _check_names(below(place, name, key), one)
                else:
                    yield (name, key), one


def _check_keywords(place: str, schema: dict[str, Any], draft: str) -> None:
    for name, value in schema.items():
        if wanted := _wanted(name, value, draft):
            refuse(below(place, name), f"it must be {wanted}, not {_text(value)}")
        if name in ("$schema", "$id", "id") and place != "#" and isinstance(value, str):
            refuse(place, f"{name!r} is supported at the top of a schema only")
    for name in ("required", "type"):
        if isinstance(schema.get(name), list):
            _check_names(below(place, name), schema[name])
    for key, names in schema.get("dependentRequired", {}).items():
        _check_names(below(place, "dependentRequired", key), names)
    if "pattern" in schema:
        _check_pattern(below(place, "pattern"), schema["pattern"])
    for pattern in schema.get("patternProperties", {}):
        _check_pattern(below(place, "patternProperties", pattern), pattern)


def _check_pattern(place: str, pattern: str) -> None:
    try:
        search(pattern)
    except PatternError as error:
        refuse(place, f"the pattern {_text(pattern)} cannot be used: {error}")


def _wanted(name: str, value: object, draft: str) -> str | None:
    """What a keyword must hold, where it does not."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if name in keywords.COUNTS:
        # 2.0 is an integer to JSON Schema.
        right, wanted = is_number and value >= 0 and value == int(value), "a whole number from 0 up"  # type: ignore[operator, call-overload]
    elif name in keywords.NUMBERS:
        is_old_flag = draft == "draft4" and name.startswith("exclusive")
        right, wanted = (
            isinstance(value, bool) if is_old_flag else is_number,
            "true or false" if is_old_flag else "a number",
        )
    elif name == "multipleOf":
        right, wanted = is_number and value > 0, "a number above 0"  # type: ignore[operator]
    elif name in keywords.TEXTS:
        right, wanted = isinstance(value, str), "a string"
    elif name in keywords.FLAGS:
        right, wanted = isinstance(value, bool), "true or false"
    elif name == "type":
        names = value if isinstance(value, list) and value else [value]
        right = all(isinstance(one, str) and one in keywords.TYPES for one in names)
        wanted = f"one or more of {', '.join(keywords.TYPES)}"
    elif name in ("enum", "examples", "required"):
        right, wanted = isinstance(value, list), "a list"
    elif name in ("dependentRequired", "$vocabulary"):
        right, wanted = isinstance(value, dict), "an object"
    else:
        return None
    return None if right else wanted


def _check_names(place: str, names: object) -> None:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        refuse(place, "it must be a list of strings")
    if len(set(names)) < len(names):
        refuse(place, "it names something twice")


def _check_reference(place: str, reference: str, known: Iterable[str]) -> None:
    if not reference.startswith("#"):
        refuse(place, f"the '$ref' {_text(reference)} leads out of the schema, which is not supported")
    if target(reference) not in known:
        refuse(place, f"the '$ref' {_text(reference)} leads to no schema")


def _text(value: object) -> str:
    if isinstance(value, str):
        return f"'{shown(value)}'"
    return shown(json.dumps(value, ensure_ascii=False))
