"""Type hints -> JSON Schema, and the values of JSON -> what the hints say.

    str, int, float, bool, None, Any            list[T], tuple[T, ...], set[T], Sequence[T]
    dict[str, T]                                Literal["a", "b"], an Enum
    T | None, Optional[T], Union[T, U]          Annotated[T, "a description"]
    a TypedDict, a dataclass                    NewType

Anything else is refused by name. Standard library only: it runs in the process of the functions.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import enum
import inspect
import types
import typing
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, Union

_PLAIN: dict[Any, str] = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
_ARRAYS: tuple[Any, ...] = (
    *(list, set, frozenset, tuple),
    *(collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection),
)
_OBJECTS: tuple[Any, ...] = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
_MARKS = ("Required", "NotRequired")
_MAX_DEPTH = 20  # of hints in hints: a class that holds itself has no end


class HintError(TypeError):
    """A hint that cannot be told to a model."""


def parameters_of(function: Callable[..., Any]) -> dict[str, Any]:
    """The hints of a function's parameters by name, forward references resolved. Raises HintError."""
    return {name: hint for name, hint in _resolved(inspect.unwrap(function)).items() if name != "return"}


def schema_of(hint: Any, where: str, depth: int = 0) -> dict[str, Any]:
    """The JSON Schema of a hint. Raises HintError, which begins with `where`.

    >>> schema_of(list[Literal["a", "b"]], "f: x")
    {'type': 'array', 'items': {'type': 'string', 'enum': ['a', 'b']}}
    >>> schema_of(Annotated[int | None, "How many."], "f: x")
    {'anyOf': [{'type': 'integer'}, {'type': 'null'}], 'description': 'How many.'}
    """
    if depth > _MAX_DEPTH:
        raise HintError(f"{where} has a type that holds itself, or that is nested too deeply")
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        texts = [extra for extra in arguments[1:] if isinstance(extra, str)]
        return schema_of(arguments[0], where, depth) | ({"description": texts[0]} if texts else {})
    if hasattr(hint, "__supertype__"):  # a NewType
        return schema_of(hint.__supertype__, where, depth + 1)
    if hint in (Any, object):
        return {}
    if hint in _PLAIN:
        return {"type": _PLAIN[hint]}
    if origin is Literal:
        return _choice(list(arguments), where)
    if _is_enum(hint):
        return _choice([member.value for member in hint], where)
    if origin in (Union, types.UnionType):
        return {"anyOf": [schema_of(one, where, depth + 1) for one in arguments]}
    fields = _fields(hint)
    if fields is not None:
        properties = {name: schema_of(kind, where, depth + 1) for name, (kind, _) in fields.items()}
        required = [name for name, (_, needed) in fields.items() if needed]
        return object_of(properties, required)
    if (origin or hint) in _OBJECTS and (not arguments or arguments[0] is str):
        return {"type": "object"} | (
            {"additionalProperties": schema_of(arguments[1], where, depth + 1)} if arguments else {}
        )
    if (origin or hint) in _ARRAYS and (origin is not tuple or arguments[1:] == (...,)):
        return {"type": "array"} | ({"items": schema_of(arguments[0], where, depth + 1)} if arguments else {})
    raise HintError(f"{where} has the type {_name(hint)}, which a model cannot be told of")


def object_of(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    """The schema of an object. Nothing is said of further keys: schemas in the models' cards say nothing of them."""
    return {"type": "object", "properties": properties} | ({"required": required} if required else {})


def converted(value: Any, hint: Any, where: str) -> Any:
    """A value of JSON as the hint wants it: an Enum's member, a set, a dataclass. Raises TypeError where it is none.

    >>> converted(["b", "a", "b"], set[str], "x") == {"a", "b"}
    True
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return converted(value, arguments[0], where)
    if hasattr(hint, "__supertype__"):
        return converted(value, hint.__supertype__, where)
    if hint in (Any, object):
        return value
    if hint in _PLAIN:
        return _plain(value, hint, where)
    if origin is Literal:
        return _one_of(value, [(choice, choice) for choice in arguments], where)
    if _is_enum(hint):
        return _one_of(value, [(member.value, member) for member in hint], where)
    if origin in (Union, types.UnionType):
        return _first_that_fits(value, arguments, where)
    fields = _fields(hint)
    if fields is not None:
        given = _checked(value, dict, where)
        if unknown := set(given) - set(fields):
            raise TypeError(f"{where} has no field {min(unknown)!r}")
        return hint(**{key: converted(one, fields[key][0], f"{where}.{key}") for key, one in given.items()})
    made = origin or hint
    if made in _OBJECTS:
        given = _checked(value, dict, where)
        return {key: converted(one, arguments[1], where) for key, one in given.items()} if arguments else given
    items = _checked(value, list, where)
    items = [converted(one, arguments[0], where) for one in items] if arguments else items
    return made(items) if made in (set, frozenset, tuple) else items


def _choice(choices: Sequence[Any], where: str) -> dict[str, Any]:
    """The schema of a choice between plain values; its type too, if they have the same."""
    kinds = {_PLAIN.get(type(choice)) for choice in choices}
    if None in kinds or not choices:
        raise HintError(f"{where} has a choice between values that JSON does not know")
    return ({"type": kinds.pop()} if len(kinds) == 1 else {}) | {"enum": list(choices)}


def _fields(hint: Any) -> dict[str, tuple[Any, bool]] | None:
    """Of a TypedDict or a dataclass, each field's hint and whether it must be given; None for any other type."""
    if typing.is_typeddict(hint):
        return {name: (_without_marks(kind), name in hint.__required_keys__) for name, kind in _resolved(hint).items()}
    if not (inspect.isclass(hint) and dataclasses.is_dataclass(hint)):
        return None
    hints = _resolved(hint)
    nothing = dataclasses.MISSING
    return {
        field.name: (hints[field.name], field.default is nothing and field.default_factory is nothing)
        for field in dataclasses.fields(hint)
        if field.init
    }


def _resolved(holder: Any) -> dict[str, Any]:
    """The hints of a function or a class, with names in quotes looked up. Raises HintError for one that is unknown."""
    try:
        return typing.get_type_hints(holder, include_extras=True)
    except (NameError, AttributeError, SyntaxError, TypeError) as error:
        raise HintError(f"{_name(holder)}: a type hint cannot be read: {error}") from error


def _without_marks(hint: Any) -> Any:
    """A TypedDict's hint without Required[...] and NotRequired[...]."""
    origin = typing.get_origin(hint)
    return typing.get_args(hint)[0] if getattr(origin, "__name__", getattr(origin, "_name", "")) in _MARKS else hint


def _plain(value: Any, kind: Any, where: str) -> Any:
    """A value of a plain type. As JSON Schema has it: true is no number, 3 a float's value too, 3.0 an int's."""
    if kind is float and type(value) is int:
        return float(value)
    if kind is int and type(value) is float and value.is_integer():
        return int(value)
    return _checked(value, kind, where)


def _checked(value: Any, kind: type, where: str) -> Any:
    if type(value) is not kind:
        wanted = "an object" if kind is dict else "a list" if kind is list else f"of the type {_PLAIN[kind]}"
        raise TypeError(f"{where} must be {wanted}")
    return value


def _one_of(value: Any, choices: Sequence[tuple[Any, Any]], where: str) -> Any:
    """What stands beside the value, which must be of the same type: 1 is not True."""
    for key, choice in choices:
        if key == value and type(key) is type(value):
            return choice
    raise TypeError(f"{where} must be one of {', '.join(repr(key) for key, _ in choices)}")


def _first_that_fits(value: Any, hints: Sequence[Any], where: str) -> Any:
    for hint in hints:
        try:
            return converted(value, hint, where)
        except (TypeError, ValueError):  # noqa: PERF203 - the alternatives of a union are few
            continue
    raise TypeError(f"{where} must be one of {', '.join(map(_name, hints))}")


def _is_enum(hint: Any) -> bool:
    return inspect.isclass(hint) and issubclass(hint, enum.Enum)


def _name(hint: Any) -> str:
    return str(hint) if typing.get_args(hint) else getattr(hint, "__qualname__", str(hint))
