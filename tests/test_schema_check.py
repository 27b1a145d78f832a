"""Values against schemas: jsonschema's verdicts, our words, and bounds."""

from __future__ import annotations

import copy
import json
import random
import time
from typing import Any

import jsonschema
import pytest

from minichat.schema.check import check_schema, problem
from quant.errors import SchemaError

WEATHER = {
    "type": "object",
    "properties": {
        "location": {"type": "string", "description": "The city"},
        "format": {"type": "string", "enum": ["celsius", "fahrenheit"]},
        "days": {"type": "integer", "minimum": 1, "maximum": 7},
    },
    "required": ["location", "format"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("value", "schema", "said"),
    [
        ({"location": "Paris", "format": "celsius"}, WEATHER, None),
        ({"location": "Paris"}, WEATHER, "'format' is missing"),
        (
            {"location": "Paris", "format": "kelvin"},
            WEATHER,
            "format: 'kelvin' is none of celsius, fahrenheit",
        ),
        ({"location": 1, "format": "celsius"}, WEATHER, "location: 1 is not a string"),
        ({"location": "x", "format": "celsius", "days": 9}, WEATHER, "days: 9 is not 7 or less"),
        ({"location": "x", "format": "celsius", "days": 0}, WEATHER, "days: 0 is not 1 or more"),
        (
            {"location": "x", "format": "celsius", "day": 1},
            WEATHER,
            "'day' is not known, only location, format, days are",
        ),
        ([], WEATHER, "[] is not an object"),
        (True, {"type": "integer"}, "true is not a whole number"),
        (1.0, {"type": "integer"}, None),
        ("two\nlines", {"type": "null"}, "'two lines' is not null"),
        ([{"a": 1}, {"a": 1.0}], {"uniqueItems": True}, "an item is there twice"),
        ([1, True, "1", [1], {"1": 1}], {"uniqueItems": True}, None),
        ([], {"minItems": 1}, "it has fewer than 1 items"),
        ("abc", {"maxLength": 2}, "it has more than 2 characters"),
        ({"a": {"b": [1, "x"]}}, {"additionalProperties": {"properties": {"b": {"items": {"type": "integer"}}}}},
         "a.b.1: 'x' is not a whole number"),
        ({"kind": "b", "n": "x"}, {"anyOf": [{"properties": {"n": {"type": "integer"}}}, {"type": "null"}]},
         "n: 'x' is not a whole number"),
        (1, {"oneOf": [{"type": "integer"}, {"type": "number"}]}, "1 fits more than one of the alternatives"),
        (1, {"not": {}}, "1 does not fit 'not'"),
        (1, False, "it must not be there"),
        ({"n": [[]]}, {"$ref": "#/$defs/n", "$defs": {"n": {"properties": {"n": {"items": {"$ref": "#"}}}}}}, None),
        ("2023-02-29", {"format": "date"}, "'2023-02-29' is not of the format 'date'"),
        ("anything", {"format": "hostname"}, None),
        (float("inf"), {"minimum": 3}, None),
        ({"x1": 1, "y": 2}, {"patternProperties": {"^x": {"type": "string"}}}, "x1: 1 is not a string"),
        ({"x1": 1, "y": 2}, {"patternProperties": {"^x": True}, "additionalProperties": False}, "'y' is not known"),
        (3, {"$schema": "http://json-schema.org/draft-04/schema#", "maximum": 3, "exclusiveMaximum": True},
         "3 is not 3 or less"),
        ([1, "a"], {"$schema": "http://json-schema.org/draft-07/schema#", "items": [{}, {"type": "null"}]},
         "1: 'a' is not null"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(value: object, schema: object, said: str | None) -> None:
    assert problem(value, schema) == said


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        (7, "at #: a schema must be an object, true or false"),
        ({"properties": {"a": 1}}, "at #/properties/a: a schema must be an object, true or false"),
        (
            {"properties": {"age": {"minimum": "1"}}},
            "at #/properties/age/minimum: it must be a number, not '1'",
        ),
        ({"minLength": -1}, "at #/minLength: it must be a whole number from 0 up, not -1"),
        ({"type": "text"}, "at #/type: it must be one or more of object, array, string, integer, number, boolean, "
         "null, not 'text'"),
        ({"required": ["a", "a"]}, "at #/required: it names something twice"),
        ({"anyOf": []}, "at #/anyOf: it must be a list of schemas, and not an empty one"),
        ({"items": [{}]}, "at #/items: a list of schemas is written 'prefixItems' in this draft"),
        ({"$ref": "http://127.0.0.1:9/x"},
         "at #: the '$ref' 'http://127.0.0.1:9/x' leads out of the schema, which is not supported"),
        ({"$ref": "#/$defs/a"}, "at #: the '$ref' '#/$defs/a' leads to no schema"),
        ({"const": {"type": 1}, "$ref": "#/const"}, "at #: the '$ref' '#/const' leads to no schema"),
        ({"pattern": "(?=a)b"},
         "at #/pattern: the pattern '(?=a)b' cannot be used: a look-ahead ('(?=') is not supported"),
        ({"pattern": "("}, "at #/pattern: the pattern '(' cannot be used: a '(' is not closed"),
        ({"$schema": "https://example.org/mine"},
         "at #: the '$schema' 'https://example.org/mine' is not known; known drafts: 4, 6, 7, 2019-09, 2020-12"),
        ({"items": {"$schema": "http://json-schema.org/draft-07/schema#"}},
         "at #/items: '$schema' is supported at the top of a schema only"),
        ({"minimum": float("nan")}, "the schema has a number that JSON cannot write: nan"),
        ({"const": {1: 2}}, "the schema has a name that is no string"),
        ({"const": {1}}, "the schema is no JSON value"),
        ({"$dynamicRef": "#a"}, "the schema uses '$dynamicRef', which is not supported; '$ref' is"),
    ],
)  # fmt: skip
def test_what_is_no_schema_is_refused(schema: object, said: str) -> None:
    with pytest.raises(SchemaError) as caught:
        check_schema(schema)
    assert str(caught.value) == said


def _chain(length: int) -> dict[str, Any]:
    """Each definition asks twice for the next: 2^length checks."""
    definitions: dict[str, Any] = {
        f"d{i}": {"allOf": [{"$ref": f"#/$defs/d{i + 1}"}, {"$ref": f"#/$defs/d{i + 1}"}]} for i in range(length)
    }
    return {"$ref": "#/$defs/d0", "$defs": {**definitions, f"d{length}": {}}}


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        (1, _chain(40)),
        (1, {"$ref": "#"}),
        (1, {"anyOf": [{"$ref": "#"}, {"$ref": "#"}]}),
        ([list(range(2000))] * 500, {"items": {"enum": [[i] for i in range(20_000)]}}),
        ("".join(random.Random(1).choices("ab", k=100_000)), {"pattern": "(a|b|ab)*a.{500}c"}),
        (
            ["".join(random.Random(i).choices("ab", k=500)) for i in range(2000)],
            {"items": {"pattern": "(a|b|ab)*a.{500}c"}},
        ),
    ],
)
def test_what_would_take_long_is_refused_soon(value: object, schema: object) -> None:
    start = time.process_time()
    with pytest.raises(SchemaError):
        problem(value, schema)
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        ("a" * 50_000 + "b", {"pattern": "^(a+)+$"}),
        ("x" * 50_000, {"pattern": "(x+x+)+y"}),
        ([{"a": i} for i in range(20_000)], {"uniqueItems": True}),
        ({str(i): i for i in range(20_000)}, {"patternProperties": {"(1|1)*x": {}}, "additionalProperties": False}),
    ],
)
def test_hostile_values_are_judged_soon(value: object, schema: object) -> None:
    start = time.process_time()
    problem(value, schema)
    assert time.process_time() - start < 5


def test_the_network_is_never_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("urllib.request.urlopen", lambda *_: pytest.fail("asked"))
    for schema in (
        {"$ref": "http://127.0.0.1:9/a"},
        {"$id": "http://127.0.0.1:9/", "$ref": "#/$defs/a", "$defs": {"a": {"$ref": "b"}}},
        {"$schema": "http://127.0.0.1:9/s"},
        {"$defs": {"a": {"$id": "http://127.0.0.1:9/"}}},
    ):
        with pytest.raises(SchemaError):
            problem(1, schema)


SEEDS = [
    WEATHER,
    {"type": ["string", "null"], "minLength": 2, "pattern": "^a|b$"},
    {"items": {"type": "number", "exclusiveMinimum": 0}, "maxItems": 3, "uniqueItems": True, "contains": {"const": 1}},
    {"anyOf": [{"type": "integer"}, {"properties": {"a": {"enum": [1, "x", None]}}, "required": ["a"]}]},
    {"if": {"type": "string"}, "then": {"maxLength": 1}, "else": {"not": {"type": "null"}}},
    {"prefixItems": [{"type": "integer"}, True], "items": False, "minItems": 1},
    {"$ref": "#/$defs/t", "$defs": {"t": {"type": "object", "properties": {"next": {"$ref": "#/$defs/t"}}}}},
    {"dependentRequired": {"a": ["b"]}, "propertyNames": {"maxLength": 3}, "minProperties": 1},
    {"oneOf": [{"multipleOf": 2}, {"multipleOf": 3}], "unevaluatedProperties": False},
]
VALUES = [
    *(None, True, False, 0, 1, 2, 6, -1, 1.0, 2.5, 1e300, "", "a", "b", "celsius", "ab", "x" * 9),
    *([], [1], [1, 1], [1, "a"], [0.5, 1, 2, 3], [[]], {}, {"a": 1}, {"a": "x", "b": None}),
    *({"location": "P", "format": "celsius"}, {"location": "P", "format": "k", "days": 3}, {"next": {"next": 1}}),
]  # fmt: skip


def _mutated(schema: Any, draw: random.Random) -> Any:
    """A copy of a schema with one value replaced, taken away, or put elsewhere."""
    schema = copy.deepcopy(schema)
    boxes: list[Any] = [schema]
    for box in boxes:
        boxes += [
            inner for inner in (box.values() if isinstance(box, dict) else box) if isinstance(inner, (dict, list))
        ]
    box = draw.choice(boxes)
    keys = list(box) if isinstance(box, dict) else list(range(len(box)))
    if not keys:
        return schema
    key = draw.choice(keys)
    match draw.randrange(3):
        case 0:
            del box[key]
        case 1:
            box[key] = copy.deepcopy(draw.choice([*VALUES, *SEEDS, -3, "(", [None], {"type": "x"}]))
        case _ if isinstance(box, dict):
            box[draw.choice(sorted({name for seed in SEEDS for name in seed}))] = box.pop(key)
    return schema


def test_verdicts_are_those_of_jsonschema() -> None:
    draw = random.Random(3)
    judged = refused = 0
    for _ in range(150):
        schema = draw.choice(SEEDS)
        for _ in range(draw.randrange(4)):
            schema = _mutated(schema, draw)
        try:
            jsonschema.Draft202012Validator.check_schema(schema)
            is_schema = True
        except jsonschema.SchemaError:
            is_schema = False
        try:
            check_schema(schema)
        except SchemaError:
            # What we refuse beyond the metaschema: references and patterns that lead nowhere.
            assert not is_schema or "$ref" in json.dumps(schema) or "pattern" in json.dumps(schema), schema
            refused += 1
            continue
        assert is_schema, schema
        validator = jsonschema.Draft202012Validator(schema)
        for value in VALUES:
            assert (problem(value, schema) is None) == validator.is_valid(value), (schema, value)
            judged += 1
    assert judged > 1_000
    assert refused > 20
