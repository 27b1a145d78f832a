"""Grammars for decoding, in GBNF, from JSON Schemas: what a grammar lets through parses, and fits its schema.

An answer is written as `json.dumps(..., ensure_ascii=False)` would: `, ` and `: ` between things, members in the order
of the schema, each character of a string in one way. It may be less than what the schema allows, never more:

- an object with `properties` has no other members unless `additionalProperties` lets them in, as with all services that
  offer structured output; a list with `prefixItems` goes no further unless `items` or `minItems` says so;
- a keyword of a type stands for that type where no `type` is given; `nullable` is an annotation;
- integers have up to 20 digits, numbers with bounds 15 and no exponent, numbers without bounds 20 on each side;
- a schema that contains itself goes 20 levels deep;
- patterns mean what ECMA-262 and Python both mean, `$` is the very end;
- of two alternatives of `oneOf` that only the members tell apart, neither has what the other must have.

Supported: type, enum, const, properties, required, additionalProperties, items, prefixItems, minItems, maxItems,
minLength, maxLength, pattern, format (date, time, date-time, uuid, ipv4, email; others are annotations), minimum,
maximum, exclusiveMinimum, exclusiveMaximum, multipleOf (whole numbers), anyOf, oneOf (where its alternatives exclude
each other), allOf, `$ref` inside the schema, true and false. Anything else that restricts is refused by name and place.
"""

from __future__ import annotations

from minichat.schema.meaning import Meaning
from minichat.schema.writer import Writer
from quant.errors import SchemaError


def grammar_of(schema: object) -> str:
    """The grammar of the JSON values that fit a schema, its first rule `root`.

    Raises SchemaError, one line, for what is no schema, for a keyword that is not supported, for a schema that nothing
    fits, and for one that is too large.

    >>> print(grammar_of({"type": "array", "items": {"type": "boolean"}, "maxItems": 2}), end="")
    root ::= a1
    a1 ::= "[" b5 i4 | "[]"
    b5 ::= "true" | "false"
    i4 ::= ", " b5 "]" | "]"
    """
    try:
        text = Writer(Meaning(schema)).grammar()
    except RecursionError as error:
        raise SchemaError("the schema is nested too deeply") from error
    if text is None:
        raise SchemaError("nothing that fits the schema can be written")
    return text


def grammar_of_any_object() -> str:
    """The grammar of any JSON object, 20 levels deep."""
    return grammar_of({"type": "object"})
