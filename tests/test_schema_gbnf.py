"""Grammars of schemas: what they let through fits, what fits in their form they let through, and what is refused."""

from __future__ import annotations

import doctest
import importlib
import json
import pkgutil
import random
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gbnf
import hostile_schemas
import jsonschema
import llama_cpp
import llama_oracle
import pytest
from random_schemas import Maker, NoValueError, instance

from minichat import schema as schema_package
from minichat.schema.gbnf import grammar_of, grammar_of_any_object
from quant.errors import SchemaError

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": "integer", "minimum": 0, "maximum": 130},
        "city": {"type": "string"},
    },
    "required": ["name", "age", "city"],
}
DRAFT_7 = "http://json-schema.org/draft-07/schema#"
# jsonschema knows other formats with packages that are not here.
FORMATS = jsonschema.FormatChecker(["date", "ipv4", "uuid", "email"])


def test_worked_examples_are_true() -> None:
    for found in pkgutil.iter_modules(schema_package.__path__):
        assert doctest.testmod(importlib.import_module(f"minichat.schema.{found.name}")).failed == 0


def test_a_person() -> None:
    assert grammar_of(PERSON) == (
        r"""root ::= "{\"name\": " s12 ", \"age\": " t16 ", \"city\": " s12 "}"
s12 ::= "\"" chars
chars ::= char chars | "\""
char ::= [\x20\x21\x23-\x5B\x5D-\uD7FF\uE000-\U0010FFFF] | "\\" [\x22\x5Cbfnrt] | "\\u000" [0-7bef] | "\\u001" [0-9a-f]
t16 ::= "0" | "1" t18 | [2-9] t19
t18 ::= [0-2] t19 | "3" t20 | [4-9] | ""
t19 ::= [0-9] | ""
t20 ::= "0" | ""
"""
    )


def test_all_that_random_grammars_let_through_fits() -> None:
    """And values that were made from the schema without the grammar are let through."""
    outputs = inputs = 0
    for seed in range(150):
        draw = random.Random(seed)
        schema = Maker(draw).schema
        validator = jsonschema.Draft202012Validator(schema, format_checker=FORMATS)
        try:
            grammar = gbnf.read(grammar_of(schema))
        except SchemaError as error:
            assert str(error).startswith(("nothing that fits", "at #")), schema
            continue
        for _ in range(8):
            text = grammar.sample(draw, 40)
            assert not list(validator.iter_errors(json.loads(text))), (seed, schema, text)
            outputs += 1
        for _ in range(6):
            try:
                text = json.dumps(instance(schema, schema, draw), ensure_ascii=False)
            except NoValueError:
                continue
            assert grammar.fits(text), (seed, schema, text)
            inputs += 1
    assert outputs > 1000
    assert inputs > 600


@pytest.mark.parametrize(
    ("schema", "fits", "fits_not"),
    [
        ({"type": "boolean"}, ["true", "false"], ["True", "null", " true", '"true"']),
        ({"const": {"a": [1, 2.5, "é\n"]}}, ['{"a": [1, 2.5, "é\\n"]}'], ['{"a":[1,2.5,"é\\n"]}', '{"a": [1, 2.5]}']),
        ({"enum": ["a", "ab", 1, None]}, ['"a"', '"ab"', "1", "null"], ['"b"', "11", "", '"a']),
        ({"enum": [1, "1", None], "type": "string"}, ['"1"'], ["1", "null"]),
        ({"type": "string"}, ['"é"', '"\\u0000\\n\\\\\\""', '"\x7f"'], ['"\n"', '"\\x"', '"\\u00e9"', '"\\/"', '"']),
        ({"type": "integer"}, ["0", "-7", "9" * 20], ["-0", "01", "1.0", "1e3", "+1", "9" * 21, ""]),
        ({"type": "number"}, ["0", "-0.5", "1.50", "1e-07", "1.5e+300"], [".5", "1.", "1e7", "1e+308", "00", "NaN"]),
        ({"minimum": 0, "maximum": 1}, ["0", "0.5", "1.000"], ["1.01", "-0.1", "-0", "1e-05", "true"]),
        ({"exclusiveMinimum": 0}, ["0.001", "12"], ["0", "0.0", "-1"]),
        ({"type": "integer", "multipleOf": 7, "minimum": -14}, ["-14", "0", "49"], ["-21", "1", "48"]),
        ({"type": "string", "minLength": 1, "maxLength": 2}, ['"\\n"', '"\\u0001é"'], ['""', '"abc"']),
        ({"pattern": "^a.c$"}, ['"a\\"c"', '"aéc"'], ['"ac"', '"abcd"', '"a\\nc"']),
        ({"pattern": "b"}, ['"abc"', '"b"'], ['"ac"']),
        ({"format": "date"}, ['"2024-02-29"'], ['"2023-02-29"', '"24-01-01"']),
        ({"type": "string", "format": "hostname"}, ['"any text"'], []),
        ({"type": "integer", "format": "int32"}, ["1"], ['"1"']),
        ({"items": {"type": "null"}}, ["[]", "[null]", "[null, null]"], ["[null,null]", "[null,]", "[1]"]),
        ({"items": {"const": 1}, "minItems": 1, "maxItems": 2}, ["[1]", "[1, 1]"], ["[]", "[1, 1, 1]"]),
        ({"prefixItems": [{"type": "null"}, {"const": 1}]}, ["[]", "[null]", "[null, 1]"], ["[1]", "[null, 1, 1]"]),
        ({"prefixItems": [{"const": 1}], "items": {"const": 2}}, ["[1, 2, 2]"], ["[1, 1]"]),
        ({"prefixItems": [{"const": 1}], "minItems": 2}, ["[1, {}]"], ["[1]", "[1, 1, 1]"]),
        (PERSON, ['{"name": "Ada", "age": 36, "city": ""}'], ['{"name": "Ada", "age": 36}', '{"age": 36}']),
        (
            {"properties": {"a": {"const": 1}, "b": {"const": 2}, "c": {"const": 3}}, "required": ["b"]},
            ['{"b": 2}', '{"a": 1, "b": 2}', '{"b": 2, "c": 3}', '{"a": 1, "b": 2, "c": 3}'],
            ["{}", '{"a": 1}', '{"b": 2, "a": 1}', '{"b": 2, "d": 1}', '{"b": 2, }', "null"],
        ),
        (
            {"properties": {"a": {"const": 1}}, "additionalProperties": {"type": "null"}},
            ["{}", '{"a": 1}', '{"a": 1, "b": null, "": null}', '{"ab": null}', '{"\\"": null}'],
            ['{"a": null}', '{"b": null, "a": 1}', '{"a": 1, "a": null}', '{"b": 1}'],
        ),
        ({"type": "object", "properties": {}}, ["{}"], ['{"a": 1}']),
        ({"properties": {"a": False, "b": True}}, ["{}", '{"b": []}'], ['{"a": 1}']),
        ({"required": ["z"]}, ['{"z": null}', '{"z": [1], "a": 2}'], ["{}", "1"]),
        ({"anyOf": [{"type": "null"}, {"const": "x"}]}, ["null", '"x"'], ["true"]),
        ({"type": ["string", "null"]}, ["null", '""'], ["1"]),
        ({"type": "string", "nullable": True}, ['""'], ["null"]),
        (
            {"allOf": [{"properties": {"a": {"minimum": 1}}}, {"required": ["a"]}], "properties": {"a": {"const": 1}}},
            ['{"a": 1}'],
            ["{}", '{"a": 0}', '{"a": 2}'],
        ),
        ({"allOf": [{"minLength": 2}, {"maxLength": 3}], "pattern": "^x*$"}, ['"xx"', '"xxx"'], ['"x"', '"xxxx"', "1"]),
        (
            {"oneOf": [{"required": ["a"]}, {"required": ["b"]}], "type": "object", "properties": {"a": {}, "b": {}}},
            ['{"a": 1}', '{"b": 1}'],
            ["{}", '{"a": 1, "b": 1}'],
        ),
        (
            {"oneOf": [{"type": "integer", "maximum": 3}, {"type": "integer", "minimum": 4}, {"enum": ["a"]}]},
            ["3", "4", '"a"'],
            ['"b"'],
        ),
        ({"oneOf": [{"enum": [1, 2]}, {"enum": [2, 3]}]}, ["1", "3"], ["2"]),
        (
            {"$ref": "#/$defs/node", "$defs": {"node": {"properties": {"next": {"$ref": "#/$defs/node"}}}}},
            ["{}", '{"next": {"next": {}}}', '{"next": ' * 19 + "{}" + "}" * 19],
            ['{"next": null}', '{"next": ' * 20 + "{}" + "}" * 20],
        ),
        ({"$ref": "#/properties/a", "properties": {"a": {"type": "null"}}, "type": "null"}, ["null"], ["{}"]),
        (
            {"$schema": DRAFT_7, "items": [{"const": 1}], "additionalItems": {"const": 2}},
            ["[]", "[1, 2, 2]"],
            ["[2]", "[1, 1]"],
        ),
        (True, ["null", "{}", '[[], {"a": 1.5}]'], ["", "nul", "[1 ,2]"]),
    ],
)  # fmt: skip
def test_what_a_grammar_lets_through(schema: Any, fits: list[str], fits_not: list[str]) -> None:
    grammar = gbnf.read(grammar_of(schema))
    assert [text for text in fits if not grammar.fits(text)] == []
    assert [text for text in fits_not if grammar.fits(text)] == []


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"properties": {"age": {"not": {}}}}, "at #/properties/age: 'not' is not supported"),
        ({"items": {"minLenght": 3}}, "at #/items: 'minLenght' is not supported"),
        ({"type": "object", "minProperties": 1}, "at #: 'minProperties' is not supported"),
        ({"type": "array", "uniqueItems": True}, "at #: 'uniqueItems' is not supported"),
        ({"if": {}, "then": {}}, "at #: 'if' is not supported"),
        ({"patternProperties": {"a": {}}}, "at #: 'patternProperties' is not supported"),
        ({"multipleOf": 0.01}, "at #: 'multipleOf' is supported for whole numbers, not for 0.01"),
        ({"maxLength": 10**6}, "at #: 'maxLength' above 10,000 is not supported"),
        ({"items": [{}]}, "at #/items: a list of schemas is written 'prefixItems' in this draft"),
        (
            {"$schema": DRAFT_7, "prefixItems": [{}]},
            "at #: 'prefixItems' is not supported",
        ),
        (
            {"oneOf": [{"type": "integer"}, {"type": "number"}]},
            "at #/oneOf: a value could fit both 0 and 1: 'anyOf' allows that",
        ),
        (
            {"oneOf": [{"properties": {"a": {}}}, {"properties": {"b": {}}}]},
            "at #/oneOf: a value could fit both 0 and 1: 'anyOf' allows that",
        ),
        ({"$ref": "#"}, "at #: it refers to itself, with no list or object between"),
        ({"required": ["a"], "properties": {"a": {"$ref": "#"}}}, "nothing that fits the schema can be written"),
        ({"type": "string", "enum": [1]}, "nothing that fits the schema can be written"),
        (False, "nothing that fits the schema can be written"),
        ({"minLength": 3, "maxLength": 2}, "nothing that fits the schema can be written"),
        ({"pattern": "a.{300}"}, "at #: its pattern, length or multiple is too large for a grammar"),
        ({"const": "\ud800"}, "at #: a value holds half a character, which cannot be written"),
        ("object", "at #: a schema must be an object, true or false"),
    ],
)
def test_what_cannot_be_expressed_is_refused_by_name(schema: object, said: str) -> None:
    with pytest.raises(SchemaError) as caught:
        grammar_of(schema)
    assert str(caught.value) == said


def test_a_value_that_holds_itself_is_refused() -> None:
    schema: dict[str, Any] = {}
    schema["items"] = schema
    with pytest.raises(SchemaError):
        grammar_of(schema)


def test_whole_numbers_within_bounds() -> None:
    draw = random.Random(2)
    for _ in range(30):
        low, high = sorted(draw.choice([draw.randint(-120, 120), draw.randint(-30, 30)]) for _ in range(2))
        step = draw.choice([1, 1, 3, 10])
        if not any(n % step == 0 for n in range(low, high + 1)):
            continue
        grammar = gbnf.read(grammar_of({"type": "integer", "minimum": low, "maximum": high, "multipleOf": step}))
        for number in range(-130, 131):
            assert grammar.fits(str(number)) == (low <= number <= high and number % step == 0), (
                low,
                high,
                step,
                number,
            )


def test_decimals_within_bounds() -> None:
    draw = random.Random(4)
    for _ in range(60):
        low, high = sorted(round(draw.uniform(-3, 3), draw.randrange(4)) for _ in range(2))
        schema = {draw.choice(["minimum", "exclusiveMinimum"]): low, draw.choice(["maximum", "exclusiveMaximum"]): high}
        validator = jsonschema.Draft202012Validator({"type": "number", **schema})
        try:
            grammar = gbnf.read(grammar_of(schema))
        except SchemaError:
            assert low == high
            continue
        for _ in range(20):
            assert validator.is_valid(json.loads(grammar.sample(draw))), schema
            text = repr(
                draw.choice([low, high, int(low), round(draw.uniform(low - 1, high + 1), draw.randrange(1, 5))])
            )
            if not text.startswith("-0.0") or float(text) != 0:
                assert grammar.fits(text) == validator.is_valid(json.loads(text)), (schema, text)


def test_any_object() -> None:
    draw = random.Random(1)
    grammar = gbnf.read(grammar_of_any_object())
    for _ in range(200):
        assert isinstance(json.loads(grammar.sample(draw)), dict)
    assert grammar.fits('{"a": {"b": [1, -2.5, "x", null, true, {}]}, "é": "\\n"}')
    assert not grammar.fits("[]")
    assert not grammar.fits('{"a": ' + "[" * 30 + "]" * 30 + "}")


@pytest.fixture(scope="module")
def judge() -> Iterator[subprocess.Popen[bytes]]:
    """A process in which llama.cpp reads grammars: one that crashes it would take the tests along."""
    code = """if True:
        import struct, sys
        from minichat.engine import binding
        c = binding.load()
        while head := sys.stdin.buffer.read(4):
            text = sys.stdin.buffer.read(*struct.unpack("<I", head))
            sampler = c.llama_sampler_init_grammar(None, text, b"root")
            sys.stdout.buffer.write(b"1" if sampler else b"0")
            sys.stdout.buffer.flush()
            if sampler:
                c.llama_sampler_free(sampler)
    """
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield process
        process.stdin.close()  # type: ignore[union-attr]


def llama_takes(judge: subprocess.Popen[bytes], grammar: str) -> bool:
    assert judge.stdin
    assert judge.stdout
    raw = grammar.encode()
    judge.stdin.write(struct.pack("<I", len(raw)) + raw)
    judge.stdin.flush()
    answer = judge.stdout.read(1)
    assert answer, "llama.cpp crashed"
    return answer == b"1"


def tried(judge: subprocess.Popen[bytes], schema: object) -> bool:
    """Whether a schema has a grammar; one that has must be one for llama.cpp, one that has not must say why."""
    start = time.process_time()
    try:
        grammar = grammar_of(schema)
    except SchemaError as error:
        assert "\n" not in str(error)
        assert len(str(error)) < 400
        grammar = None
    assert time.process_time() - start < 4
    assert grammar is None or llama_takes(judge, grammar), grammar[:2000]
    return grammar is not None


def test_hostile_schemas_by_hand(judge: subprocess.Popen[bytes]) -> None:
    kept = [tried(judge, schema) for _, schema in hostile_schemas.made()]
    assert 30 < sum(kept) < len(kept) - 30


def test_random_hostile_schemas(judge: subprocess.Popen[bytes]) -> None:
    kept = [tried(judge, hostile_schemas.mutated(random.Random(seed))) for seed in range(150)]
    assert 30 < sum(kept) < 120


def llama_fits(vocab: Any, grammar: str, text: str) -> bool:
    """Whether llama.cpp would let these tokens through, one by one, and then the end."""
    sampler = llama_cpp.llama_sampler_init_grammar(vocab, grammar.encode(), b"root")
    try:
        for token in [*llama_oracle.tokenize(vocab, text), llama_cpp.llama_vocab_eos(vocab)]:
            data = (llama_cpp.llama_token_data * 1)(llama_cpp.llama_token_data(token, 1.0, 0.0))
            candidates = llama_cpp.llama_token_data_array(data, 1, -1, False)
            llama_cpp.llama_sampler_apply(sampler, candidates)
            if data[0].logit == float("-inf"):
                return False
            llama_cpp.llama_sampler_accept(sampler, token)
    finally:
        llama_cpp.llama_sampler_free(sampler)
    return True


def test_llama_reads_grammars_as_these_tests_do(small_gguf: Path) -> None:
    draw = random.Random(6)
    right = wrong = 0
    with llama_oracle.vocabulary(small_gguf) as vocab:
        for seed in range(40):
            try:
                grammar = grammar_of(Maker(random.Random(seed)).schema)
            except SchemaError:
                continue
            own = gbnf.read(grammar)
            for _ in range(4):
                text = own.sample(draw, 30)
                at = draw.randrange(len(text))
                for one in (text, text[:at] + draw.choice(['"', "1", ",", "", "]"]) + text[at + 1 :]):
                    fits = own.fits(one)
                    assert llama_fits(vocab, grammar, one) == fits, (seed, one)
                    right, wrong = right + fits, wrong + (not fits)
    assert right > 100
    assert wrong > 50
