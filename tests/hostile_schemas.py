"""Schemas that are wrong, huge, deep or made to take for ever."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

from random_schemas import FORMATS, NAMES, PATTERNS, Maker, value

KEYWORDS = [
    *("type", "enum", "const", "properties", "required", "additionalProperties", "items", "prefixItems", "minItems"),
    *(
        "maxItems",
        "minLength",
        "maxLength",
        "pattern",
        "format",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "multipleOf",
    ),
    *(
        "anyOf",
        "oneOf",
        "allOf",
        "$ref",
        "$defs",
        "definitions",
        "not",
        "if",
        "then",
        "else",
        "contains",
        "uniqueItems",
    ),
    *("patternProperties", "propertyNames", "minProperties", "dependentRequired", "unevaluatedProperties", "$schema"),
    *("$id", "$anchor", "nullable", "additionalItems", "dependencies", "title", "x-y", "minLenght", "$dynamicRef"),
]
VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1, 3, 2.0, 2.5, 10**30, -(10**400), 1e308, float("nan"), float("inf"), 100_000, 2**31),
    *("", "string", "object", "#", "#/", "#/$defs/d0", "#/$defs/d1", "#/properties", "http://x/y", "\ud800", "\0"),
    *("(a*)*", "(a|b)*a(a|b){12}", "(?=x)", "[z-a]", "a{5,2}", "(((((", "date", "\\d{3}\\D", "^\\W{1,9}$", "a.{300}"),
    *([], [[]], [None], ["a", "a"], ["string", "null"], [{}], [{}, {"type": "null"}], {}, {"a": {}}, {"a": 1}),
    *({"type": "string"}, {"$ref": "#"}, {"type": []}, {"": {"$ref": "#/$defs/d0"}}, {1, 2}, {1: 2}, object()),
]  # fmt: skip


def mutated(draw: random.Random) -> Any:
    """A random schema, with up to four things in it gone wrong."""
    schema: Any = {"$defs": {}, **Maker(draw).schema}
    for _ in range(draw.randint(1, 4)):
        boxes: list[Any] = [schema]
        for box in boxes:
            inner = box.values() if isinstance(box, dict) else box
            boxes += [one for one in inner if isinstance(one, (dict, list))]
        box = draw.choice(boxes)
        keys = list(box) if isinstance(box, dict) else list(range(len(box)))
        new = draw.choice([lambda: draw.choice(VALUES), lambda: value(draw), lambda: Maker(draw).schema, lambda: {
            draw.choice(KEYWORDS): draw.choice(VALUES)
        }])()  # fmt: skip
        match draw.randrange(4):
            case 0 if keys:
                del box[draw.choice(keys)]
            case 1 if keys:
                box[draw.choice(keys)] = copy.deepcopy(new)
            case _ if isinstance(box, dict):
                box[draw.choice(KEYWORDS + NAMES)] = copy.deepcopy(new)
            case _:
                box.append(copy.deepcopy(new))
    return schema


def _nested(depth: int, inside: Any, around: Any) -> Any:
    for _ in range(depth):
        inside = around(inside)
    return inside


def _chain(length: int, link: Any, end: Any) -> dict[str, Any]:
    """Definitions, each made of the reference to the next."""
    definitions = {f"d{i}": link({"$ref": f"#/$defs/d{i + 1}"}) for i in range(length)}
    return {"$ref": "#/$defs/d0", "$defs": {**definitions, f"d{length}": end}}


def made() -> Iterator[tuple[str, Any]]:
    """Schemas by hand, each with a name."""
    obj, arr = (lambda s: {"type": "object", "properties": {"a": s}, "required": ["a"]}), (lambda s: {"items": s})
    yield "deep objects", _nested(5000, {}, obj)
    yield "objects 59 deep", _nested(59, {}, obj)
    yield "deep lists", _nested(900, {}, arr)
    yield "deep allOf", _nested(55, {}, lambda s: {"allOf": [s, s]})
    yield "wide anyOf", {"anyOf": [{"type": "object", "properties": {str(i): {}}} for i in range(1200)]}
    yield "anyOf that doubles", _chain(40, lambda s: {"anyOf": [s, s]}, {"type": "null"})
    yield (
        "anyOf that doubles in lists",
        _chain(40, lambda s: {"anyOf": [{"items": s}, {"items": s, "minItems": 1}]}, {}),
    )
    yield "allOf that doubles", _chain(40, lambda s: {"allOf": [s, s]}, {"minLength": 1})
    yield (
        "a product of alternatives",
        {"allOf": [{"anyOf": [{"properties": {f"{i}{j}": {"const": j}}} for j in range(9)]} for i in range(9)]},
    )
    yield "a long chain", _chain(5000, lambda s: s, {})
    yield "a long chain of members", _chain(1000, obj, {})
    yield "a long chain of optional members", _chain(150, lambda s: {"properties": {"a": s, "b": s}}, {})
    yield "itself", {"$ref": "#"}
    yield "itself beside others", {"anyOf": [{"type": "null"}, {"$ref": "#"}]}
    yield "itself without an end", obj({"$ref": "#"})
    yield "itself in itself", {"properties": {str(i): {"$ref": "#"} for i in range(50)}}
    yield (
        "each in each",
        {
            "$ref": "#/$defs/0",
            "$defs": {str(i): {"properties": {str(j): {"$ref": f"#/$defs/{j}"} for j in range(40)}} for i in range(40)},
        },
    )
    yield (
        "meeting ever more",
        {
            "$ref": "#/$defs/a",
            "$defs": {
                "a": {"properties": {"x": {"allOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/b"}]}}},
                "b": {
                    "properties": {
                        "x": {"$ref": "#/$defs/a"},
                        "y": {"allOf": [{"$ref": "#/$defs/b"}, {"$ref": "#/$defs/a"}]},
                    }
                },
            },
        },
    )
    yield (
        "subsets",
        {
            "$ref": "#/$defs/0",
            "$defs": {
                str(i): {
                    "additionalProperties": {
                        "allOf": [{"$ref": f"#/$defs/{i}"}, {"$ref": f"#/$defs/{(7 * i + 1) % 24}"}]
                    }
                }
                for i in range(24)
            },
        },
    )
    yield "many members", {"properties": {f"member {i}": {"type": "null"} for i in range(1000)}}
    yield "too many members", {"properties": {f"member {i}": {"type": "null"} for i in range(1001)}}
    yield (
        "many members in many",
        {
            "properties": {
                f"o{i}": {"properties": {f"m{j}": {"type": "integer"} for j in range(100)}} for i in range(100)
            }
        },
    )
    yield "a long string", {"maxLength": 10_000, "minLength": 9_999}
    yield "too long a string", {"maxLength": 100_000}
    yield "far too long a string", {"minLength": 10**30}
    yield "long lists", _nested(3, {"type": "null"}, lambda s: {"items": s, "maxItems": 1000, "type": "array"})
    yield "too long lists", _nested(9, {"type": "null"}, lambda s: {"items": s, "maxItems": 10_000, "type": "array"})
    yield "a list that must be long", {"items": {"type": "null"}, "minItems": 10_000}
    yield "an enum", {"enum": [f"value {i}" for i in range(20_000)]}
    yield "an enum of all characters", {"enum": [chr(i) for i in range(0x100, 0x3000)]}
    yield "an enum of objects", {"enum": [{"a": [i] * 50} for i in range(3000)]}
    yield "a long value", {"const": "x" * 500_000}
    yield "long names", {"properties": {"x" * 100_000 + str(i): {} for i in range(9)}}
    yield "halves of characters", {"properties": {"\ud800": {"const": "\udc00"}}}
    yield "half a character in a value", {"enum": ["\ud83d"]}
    for number, bounds in enumerate([(1e300, 1e308), (-(10**400), 10**400), (5e-324, 1e-300), (0.1, 0.1), (3, 2)]):
        yield f"bounds {number}", {"minimum": bounds[0], "maximum": bounds[1]}
        yield f"whole bounds {number}", {"type": "integer", "minimum": bounds[0], "maximum": bounds[1]}
    for multiple in (97, 10**6 + 3, 1e300, 0.01, 10**100):
        yield f"multiples of {multiple}", {"multipleOf": multiple, "minimum": -(10**9), "maximum": 10**9 + 7}
    for pattern in [
        *("^(a|b)*a(a|b){20}$", "a.{600}", "(x{50}){50}", "((x{9}){9}){9}", "^(\\w|\\W){500}$", "^[^\\w]{3}\\D\\S$"),
        *("(" * 40 + "a" + ")" * 40, "(" * 60 + "a" + ")" * 60, "|" * 3000, "a?" * 900, "(a*)*" * 200, ".*" * 300),
        *(
            "(.*a.*b.*c.*d.*e.*f.*g.*)",
            "^$",
            "$^",
            "a^",
            "$a",
            "(^|x)a($|y)",
            "[\\s\\S]*",
            "^\\u0000\\x22\\\\$",
            "[^\\d\\D]",
        ),
    ]:
        yield f"pattern {pattern[:30]}", {"pattern": pattern}
    yield "a pattern of a length", {"pattern": "(^|x)a($|y)", "minLength": 30, "maxLength": 300}
    yield "many patterns", {"allOf": [{"pattern": f"a.*{i}"} for i in range(30)]}
    yield "many formats", {"allOf": [{"format": name} for name in FORMATS] + [{"pattern": one} for one in PATTERNS]}
    yield "oneOf of many", {"oneOf": [{"properties": {str(i): {}}, "required": [str(i)]} for i in range(200)]}
    yield "oneOf without end", {"oneOf": [{"properties": {"a": {"$ref": "#"}}, "required": ["a"]}, {"type": "null"}]}
    yield (
        "oneOf in oneOf",
        _nested(12, {"type": "null"}, lambda s: {"oneOf": [obj(s), obj({"oneOf": [s, {"const": 1}]})]}),
    )
    yield "old", {"$schema": "http://json-schema.org/draft-04/schema#", "maximum": 1, "exclusiveMaximum": True}
    yield (
        "a list of items",
        {"$schema": "http://json-schema.org/draft-07/schema#", "items": [{}, {}], "additionalItems": False},
    )
