"""The form that an answer must have: text, any JSON object, or JSON that fits a schema.

A grammar holds the decoding to it, so an answer that came to its end always fits; one that was cut may not.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from quant.errors import DataError, SchemaError


@dataclass(frozen=True)
class Format:
    """name: as it is shown, "text", "json" or the schema's file. grammar: GBNF; None for text."""

    name: str = "text"
    grammar: str | None = None
    schema: object = None


TEXT = Format()


def any_object() -> Format:
    """Any JSON object."""
    from minichat.schema.gbnf import grammar_of_any_object

    return Format("json", grammar_of_any_object(), {"type": "object"})


def from_schema(file: str) -> Format:
    """What the JSON Schema in a file (`-`: standard input) asks for.

    Raises DataError for a file that is no schema, SchemaError for one that decoding cannot be held to.
    """
    from minichat.schema.files import read_schema
    from minichat.schema.gbnf import grammar_of

    schema = read_schema(file)
    try:
        return Format(file, grammar_of(schema), schema)
    except SchemaError as error:
        raise SchemaError(f"{'standard input' if file == '-' else file}: {error}") from error


def check(form: Format, answer: str, reason: str) -> None:
    """Raises DataError for an answer that does not have its form: it was cut (`reason` tells why it ended)."""
    if form.grammar is None:
        return
    from minichat.schema.check import problem

    try:
        wrong = problem(json.loads(answer), form.schema)
    except (ValueError, RecursionError):
        wrong = "it is no JSON"
    if wrong is None:
        return
    if reason in ("length", "context"):
        limit = "--max-tokens" if reason == "length" else "--ctx"
        raise DataError(f"the answer was cut before its JSON was complete: raise {limit}")
    raise DataError(f"the answer does not fit {form.name}: {wrong}")
