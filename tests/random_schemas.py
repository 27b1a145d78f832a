"""Random JSON Schemas that a grammar can express, and random values made from them without a grammar."""

from __future__ import annotations

import contextlib
import random
import string
from typing import Any

# Patterns, each with strings that it is found in: without members of Unicode classes beyond ASCII, where Python's `re`,
# which jsonschema searches with, has its own ideas.
PATTERNS: dict[str, list[str]] = {
    "^[a-z]{2,4}$": ["ab", "xyz", "abcd"],
    "^a|b$": ["a", "axx", "xxb", "é b"],
    "^(foo|ba[rz])-\\d+$": ["foo-1", "bar-007", "baz-42"],
    "x": ["x", "x\n", '"x"', "\\x"],
    "^$": [""],
    '^["\\\\/]+$': ['"', "\\\\", '/"'],
    "^[^a-z]*$": ["", "ABC", "😀\t", "ÄÖ"],
    "^(a+)+b?$": ["a", "aaab"],
    "^\\S+@\\S+$": ["a@b", "é@ü"],
    "^(?:(?:a|bc)?d){1,3}$": ["d", "add", "bcdad"],
    "[\\u00e9-\\u00ff]{2}": ["éé", "xüöx"],
    "^.{3}$": ["abc", "日本語", '"""'],
    "^(a*)*(b|)$": ["", "aab", "b"],
    "^\\w+( \\w+)*$": ["a", "two words"],
}
FORMATS = {
    "date": ["2024-02-29", "1999-12-31", "0001-01-01"],
    "time": ["00:00:00Z", "23:59:59.123+05:30"],
    "date-time": ["2024-02-29T12:00:00Z"],
    "uuid": ["123e4567-e89b-12d3-a456-426614174000"],
    "ipv4": ["10.0.0.1", "255.249.199.9"],
    "email": ["ada@example.org", "a.b+c@mail.example.com"],
    "hostname": ["anything goes"],
}
NAMES = ["name", "age", "city", 'q"uote', "back\\slash", "é", "", "a/b", "~t", "%25", "kind", "日本"]
ALPHABET = string.ascii_letters + ' "\\/\n\t\r\b\f\x00\x1f\x7fé日😀\u2028\ud7ff\ue000\U0010ffff'


def text(draw: random.Random, low: int = 0, high: int = 8) -> str:
    return "".join(draw.choices(ALPHABET, k=draw.randint(low, high)))


def value(draw: random.Random, depth: int = 2) -> Any:
    """Any JSON value."""
    kind = draw.randrange(6 if depth else 4)
    match kind:
        case 0:
            return draw.choice([None, True, False])
        case 1:
            return draw.choice([0, -1, 7, 10**15, 0.5, -2.25, 1e-7, 1.5e300])
        case 2 | 3:
            return text(draw)
        case 4:
            return [value(draw, depth - 1) for _ in range(draw.randrange(3))]
        case _:
            return {name: value(draw, depth - 1) for name in draw.sample(NAMES, draw.randrange(3))}


class Maker:
    """Makes one random schema: `schema`, with definitions that may contain themselves."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw
        self._names = [f"d{i}" for i in range(draw.randrange(3))]
        self.schema: dict[str, Any] = self._any(3)
        if self._names:
            definitions = {name: self._any(2) for name in self._names}
            self.schema = {"allOf": [self.schema], "$defs": definitions}

    def _any(self, depth: int) -> dict[str, Any]:
        draw = self._draw
        plain = [self._string, self._number, self._boolean, self._null, self._enum]
        deep = [self._object, self._object, self._array, self._any_of, self._reference, self._all_of, self._one_of]
        schema: dict[str, Any] = draw.choice(plain + (deep if depth else []))(depth)
        if draw.random() < 0.2:
            schema |= draw.choice(
                [{"title": "t"}, {"description": "d"}, {"default": 1}, {"x-mine": {}}, {"$comment": ""}]
            )
        return schema

    def _string(self, _: int) -> dict[str, Any]:
        draw = self._draw
        schema: dict[str, Any] = {"type": "string"}
        match draw.randrange(5):
            case 0:
                schema["pattern"] = draw.choice(list(PATTERNS))
            case 1:
                schema["format"] = draw.choice(list(FORMATS))
            case 2:
                low = draw.randrange(4)
                schema |= {"minLength": low, "maxLength": low + draw.randrange(20)}
        return schema

    def _number(self, _: int) -> dict[str, Any]:
        draw = self._draw
        schema: dict[str, Any] = {"type": draw.choice(["integer", "number", ["integer", "null"]])}
        if draw.random() < 0.5:
            low = draw.choice([0, 1, -5, 2.5, -0.125, 99, 1000])
            schema[draw.choice(["minimum", "exclusiveMinimum"])] = low
            if draw.random() < 0.7:
                schema[draw.choice(["maximum", "exclusiveMaximum"])] = low + draw.choice([2, 3.5, 50, 1e6])
        if draw.random() < 0.2 and schema["type"] != "number":
            schema["multipleOf"] = draw.choice([1, 2, 5, 7, 10])
        return schema

    def _boolean(self, _: int) -> dict[str, Any]:
        return {"type": "boolean"}

    def _null(self, _: int) -> dict[str, Any]:
        return {"type": "null"}

    def _enum(self, _: int) -> dict[str, Any]:
        draw = self._draw
        if draw.random() < 0.3:
            return {"const": value(draw)}
        return {"enum": [value(draw) for _ in range(draw.randint(1, 5))]}

    def _object(self, depth: int) -> dict[str, Any]:
        draw = self._draw
        names = draw.sample(NAMES, draw.randrange(5))
        schema: dict[str, Any] = {"type": "object", "properties": {name: self._any(depth - 1) for name in names}}
        schema["required"] = [name for name in names if draw.random() < 0.5]
        match draw.randrange(5):
            case 0:
                schema["additionalProperties"] = False
            case 1:
                schema["additionalProperties"] = self._any(depth - 1)
            case 2 if not names:
                del schema["properties"]
        return schema

    def _array(self, depth: int) -> dict[str, Any]:
        draw = self._draw
        schema: dict[str, Any] = {"type": "array"}
        if draw.random() < 0.3:
            schema["prefixItems"] = [self._any(depth - 1) for _ in range(draw.randint(1, 3))]
        if draw.random() < 0.8:
            schema["items"] = draw.choice([self._any(depth - 1), self._any(depth - 1), draw.random() < 0.5])
        if draw.random() < 0.5:
            low = draw.randrange(3)
            schema |= {"minItems": low, "maxItems": low + draw.randrange(4)}
        return schema

    def _any_of(self, depth: int) -> dict[str, Any]:
        return {"anyOf": [self._any(depth - 1) for _ in range(self._draw.randint(1, 3))]}

    def _one_of(self, depth: int) -> dict[str, Any]:
        kinds = self._draw.sample(["circle", "square", "line"], 2)
        if self._draw.random() < 0.3:
            return {"oneOf": [{"type": "null"}, self._string(depth)]}
        return {
            "oneOf": [
                {
                    "type": "object",
                    "properties": {"kind": {"const": kind}, "of": self._any(depth - 1)},
                    "required": ["kind"],
                }
                for kind in kinds
            ]
        }

    def _all_of(self, depth: int) -> dict[str, Any]:
        first = self._object(depth)
        return {"allOf": [first, {"required": first["required"][:1]}, {"type": ["object", "null"]}]}

    def _reference(self, depth: int) -> dict[str, Any]:
        if not self._names:
            return self._string(depth)
        return {"$ref": f"#/$defs/{self._draw.choice(self._names)}"}


class NoValueError(Exception):
    """The schema allows none that could be made here."""


def instance(schema: Any, root: Any, draw: random.Random, depth: int = 6) -> Any:
    """A value that a schema of Maker's allows, in the form that a grammar writes it: members in order, none unnamed."""
    if schema is False or depth < 0:
        raise NoValueError
    if schema is True:
        return value(draw, 1)
    if "$ref" in schema:
        return instance(root["$defs"][schema["$ref"].rsplit("/")[-1]], root, draw, depth - 1)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return draw.choice(schema["enum"])
    if options := schema.get("anyOf", schema.get("oneOf")):
        for option in draw.sample(options, len(options)):
            with contextlib.suppress(NoValueError):
                return instance(option, root, draw, depth - 1)
        raise NoValueError
    if "allOf" in schema:
        return instance(schema["allOf"][0], root, draw, depth)
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    make = {"object": _object, "array": _array, "string": _string, "integer": _number, "number": _number}
    name = draw.choice(types)
    if name in make:
        return make[name](schema, root, draw, depth)
    return None if name == "null" else draw.random() < 0.5


def _object(schema: Any, root: Any, draw: random.Random, depth: int) -> Any:
    made = {}
    for name, member in schema.get("properties", {}).items():
        is_required = name in schema.get("required", [])
        if is_required or draw.random() < 0.5:
            try:
                made[name] = instance(member, root, draw, depth - 1)
            except NoValueError:
                if is_required:
                    raise
    extra = schema.get("additionalProperties", "properties" not in schema)
    for _ in range(draw.randrange(3) if extra is not False else 0):
        name = text(draw)
        if name not in schema.get("properties", {}):
            with contextlib.suppress(NoValueError):
                made[name] = instance(extra, root, draw, depth - 1)
    return made


def _array(schema: Any, root: Any, draw: random.Random, depth: int) -> Any:
    prefix, low = schema.get("prefixItems", []), schema.get("minItems", 0)
    high = schema.get("maxItems", low + 3)
    if "items" not in schema and prefix:
        high = min(high, max(len(prefix), low))
    if schema.get("items") is False:
        high = min(high, len(prefix))
    if high < low:
        raise NoValueError
    made = []
    for i in range(draw.randint(low, high)):
        try:
            made.append(instance(prefix[i] if i < len(prefix) else schema.get("items", True), root, draw, depth - 1))
        except NoValueError:  # noqa: PERF203
            if i < low:
                raise
            break
    return made


def _string(schema: Any, _: Any, draw: random.Random, __: int) -> str:
    if "pattern" in schema:
        return draw.choice(PATTERNS[schema["pattern"]])
    if "format" in schema:
        return draw.choice(FORMATS[schema["format"]])
    return text(draw, schema.get("minLength", 0), schema.get("maxLength", 10))


def _number(schema: Any, _: Any, draw: random.Random, __: int) -> int | float:
    for _ in range(200):
        low = schema.get("minimum", schema.get("exclusiveMinimum", -1000))
        high = schema.get("maximum", schema.get("exclusiveMaximum", low + 2000))
        number: int | float = round(draw.uniform(low, high), draw.randrange(4))
        if "number" not in schema["type"] or draw.random() < 0.3:
            number = int(number)
        above = number > schema.get("exclusiveMinimum", number - 1) and number >= schema.get("minimum", number)
        below = number < schema.get("exclusiveMaximum", number + 1) and number <= schema.get("maximum", number)
        if above and below and (number % schema.get("multipleOf", 1) == 0 or "multipleOf" not in schema):
            return 0 if number == 0 else number
    raise NoValueError
