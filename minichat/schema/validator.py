"""jsonschema's validators with bounds.

What in them takes no bounded time stands here instead: patterns are searched for without going back (and mean what
ECMA-262 says), the items of a list are compared in linear time, and the whole ends after a number of steps.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from typing import Any

from minichat.schema.formats import CHECKED
from minichat.schema.nfa import search
from minichat.schema.pattern import PatternError
from minichat.schema.places import shown
from quant.errors import SchemaError

MAX_STEPS = 200_000  # about a second
_WORK_PER_STEP = 8

# (validator, what the keyword holds, value, schema) -> errors, or None
_Keyword = Callable[[Any, Any, Any, Any], Any]


def validator_of(schema: object, draft: str) -> Any:
    """A validator of jsonschema's, for one check by a schema that `structure` let through; it asks no network.

    Its `iter_errors(value)` raises SchemaError where the check takes too long.
    """
    from jsonschema import validators  # type: ignore[import-untyped]
    from referencing import Registry

    base = {
        "draft4": validators.Draft4Validator,
        "draft6": validators.Draft6Validator,
        "draft7": validators.Draft7Validator,
        "draft2019-09": validators.Draft201909Validator,
        "draft2020-12": validators.Draft202012Validator,
    }[draft]
    if isinstance(schema, dict):
        # At a `$schema` jsonschema would go over to its own class of that draft, which has no bounds.
        schema = {name: value for name, value in schema.items() if name not in ("$schema", "$id", "id")}
    return validators.extend(base, _Keywords().all(base.VALIDATORS))(schema, registry=Registry())


class _Keywords:
    """The functions that check keywords; together they count their steps."""

    def __init__(self) -> None:
        self._steps = 0

    def all(self, known: dict[str, _Keyword]) -> dict[str, _Keyword]:
        own: dict[str, _Keyword] = {
            "pattern": self._pattern,
            "patternProperties": self._pattern_properties,
            "additionalProperties": self._additional_properties,
            "uniqueItems": self._unique_items,
            "format": self._format,
        }
        return {name: self._counted(own.get(name, function)) for name, function in known.items()}

    def _counted(self, function: _Keyword) -> _Keyword:
        @functools.wraps(function)
        def keyword(validator: Any, wanted: Any, value: Any, schema: Any) -> Any:
            self._spend(1 + _size(wanted) + _size(value))
            return function(validator, wanted, value, schema)

        return keyword

    def _spend(self, steps: int) -> None:
        self._steps += steps
        if self._steps > MAX_STEPS:
            raise SchemaError("the value takes too long to be checked against the schema")

    def _found(self, pattern: str, text: str) -> bool:
        automaton = search(pattern)
        before = automaton.work
        try:
            return automaton.found_in(text)
        except PatternError as error:
            raise SchemaError(f"the pattern {shown(pattern)!r} cannot be used: {error}") from error
        finally:
            self._spend(1 + (len(text) + automaton.work - before) // _WORK_PER_STEP)

    def _pattern(self, _: Any, pattern: str, value: object, __: Any) -> Iterator[Exception]:
        if isinstance(value, str) and not self._found(pattern, value):
            yield _error()

    def _format(self, _: Any, name: str, value: object, __: Any) -> Iterator[Exception]:
        if isinstance(value, str) and name in CHECKED and not self._found(CHECKED[name], value):
            yield _error()

    def _pattern_properties(self, validator: Any, patterns: Any, value: object, _: Any) -> Iterator[Exception]:
        if isinstance(value, dict):
            for pattern, schema in patterns.items():
                for name in value:
                    if self._found(pattern, name):
                        yield from validator.descend(value[name], schema, path=name, schema_path=pattern)

    def _additional_properties(self, validator: Any, wanted: Any, value: object, schema: Any) -> Iterator[Exception]:
        if not isinstance(value, dict):
            return
        named, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
        for name in value:
            if name in named or any(self._found(pattern, name) for pattern in patterns):
                continue
            if wanted is False:
                yield _error(name)
            else:
                yield from validator.descend(value[name], wanted, path=name)

    def _unique_items(self, _: Any, wanted: bool, value: object, __: Any) -> Iterator[Exception]:
        if wanted and isinstance(value, list) and len({_key(item) for item in value}) < len(value):
            yield _error()


def _error(message: str = "") -> Exception:
    from jsonschema import ValidationError

    error: Exception = ValidationError(message)
    return error


def _size(value: object) -> int:
    return len(value) // 4 if isinstance(value, (list, dict)) else 0


def _key(value: object) -> str:
    """The same for values that are equal to JSON Schema: 1 and 1.0 are, 1 and true are not."""
    if isinstance(value, dict):
        return "{" + ",".join(sorted(f"{json.dumps(name)}:{_key(one)}" for name, one in value.items())) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_key, value)) + "]"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value)
