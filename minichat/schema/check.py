"""Whether a value fits a JSON Schema, and whether a schema is one.

The `jsonschema` package judges, within the bounds that `validator` sets it; nothing asks the network: references stay
inside the schema.
"""

from __future__ import annotations

from minichat.schema.places import shown
from minichat.schema.structure import draft_of, schemas_of
from minichat.schema.validator import validator_of
from minichat.schema.verdict import verdict
from quant.errors import SchemaError


def check_schema(schema: object) -> None:
    """Raises SchemaError, one line that names the place, for what is no JSON Schema or one that cannot be checked.

    >>> check_schema({"type": "object", "properties": {"age": {"type": "integer"}}})
    """
    draft = draft_of(schema)
    named = [one for one in schemas_of(schema, draft).values() if isinstance(one, dict)]
    for name in ("$dynamicRef", "$recursiveRef"):
        if any(name in one for one in named):
            raise SchemaError(f"the schema uses {name!r}, which is not supported; '$ref' is")
    if any("patternProperties" in one for one in named) and any("unevaluatedProperties" in one for one in named):
        raise SchemaError("the schema uses 'patternProperties' and 'unevaluatedProperties', of which one is supported")


def problem(value: object, schema: object) -> str | None:
    """What is wrong with a JSON value by a schema, on one line with the place in the value; None if nothing is.

    The draft is the one that `$schema` names, else 2020-12. Formats count where they are exact: date, time, date-time,
    uuid, ipv4. Raises SchemaError for a schema that is none, or where the check would take too long.

    >>> problem({"location": "Paris"}, {"required": ["location", "format"]})
    "'format' is missing"
    """
    check_schema(schema)
    try:
        errors = list(validator_of(schema, draft_of(schema)).iter_errors(value))
    except RecursionError as error:
        raise SchemaError("the schema refers to itself without an end, or the value is nested too deeply") from error
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise SchemaError(f"the value cannot be checked against the schema: {shown(str(error))}") from error
    return verdict(errors) if errors else None
