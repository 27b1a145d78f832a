"""From schemas to nodes: keywords, references, `allOf`, `anyOf`, `oneOf`, `enum`, `const`.

A keyword that restricts and that a grammar cannot express is refused by its name and place.
"""

from __future__ import annotations

import json
from typing import Any

from minichat.schema import formats, keywords
from minichat.schema.exclusion import Exclusion
from minichat.schema.nodes import NOTHING, Array, Finite, Node, Number, Object, Places, Simple, String, meet
from minichat.schema.numbers import Bound
from minichat.schema.places import below, refuse, shown
from minichat.schema.structure import Schema, draft_of, schemas_of, target
from minichat.schema.validator import validator_of
from quant.errors import SchemaError

MAX_NODES = 50_000  # met in all
MAX_COUNT = 10_000

_FAMILIES = {
    "string": {"minLength", "maxLength", "pattern", "format"},
    "number": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"},
    "array": {"items", "prefixItems", "additionalItems", "minItems", "maxItems", "uniqueItems"},
    "object": {"properties", "required", "additionalProperties", "minProperties"},
}
_COMBINED = {"$ref", "allOf", "anyOf", "oneOf", "enum", "const", "type"}
# `nullable` is OpenAPI's: a value that is not null fits with it and without it.
_ANNOTATIONS = {
    *("title", "description", "default", "example", "examples", "deprecated", "readOnly", "writeOnly", "nullable"),
    *("$schema", "$id", "id", "$comment", "$anchor", "$dynamicAnchor", "$vocabulary", "$defs", "definitions"),
    *("contentEncoding", "contentMediaType", "contentSchema", "discriminator", "externalDocs", "xml"),
}
_KNOWN = _COMBINED | _ANNOTATIONS | set().union(*_FAMILIES.values())


class Meaning:
    """The nodes of a schema's parts. Raises SchemaError for a schema that is none, or that no grammar can express."""

    def __init__(self, schema: object) -> None:
        self._draft = draft_of(schema)
        self._schemas = schemas_of(schema, self._draft)
        self._validator = validator_of(schema, self._draft)
        self._exclusion = Exclusion(self.nodes, self.is_valid)
        self._known: dict[Places, list[Node]] = {}
        self._active: set[str] = set()
        self._anything = _typed({}, "", self._draft)
        self._made = 0

    def is_valid(self, text: str, places: Places) -> bool:
        """Whether a JSON text's value fits all these schemas, by jsonschema."""
        return NOTHING not in places and all(self._fits(text, self._schemas[place]) for place in places)

    def _fits(self, text: str, schema: Schema) -> bool:
        return bool(self._validator.evolve(schema=schema).is_valid(json.loads(text)))

    def nodes(self, places: Places) -> list[Node]:
        """What values may be that fit all of these schemas."""
        if NOTHING in places:
            return []
        if places not in self._known:
            found = self._anything
            for place in places:
                found = self._met(found, self._at(place))
            self._known[places] = self._checked(found, places)
        return self._known[places]

    def _at(self, place: str) -> list[Node]:
        if (place,) in self._known:
            return self._known[place,]
        if place in self._active:
            refuse(place, "it refers to itself, with no list or object between")
        self._active.add(place)
        schema = self._schemas[place]
        found = [] if schema is False else self._anything if schema is True else self._of(place, schema)
        self._active.remove(place)
        self._known[place,] = self._checked(found, (place,))
        return self._known[place,]

    def _checked(self, nodes: list[Node], places: Places) -> list[Node]:
        """Leaves of the finite values those that fit everything, written or not."""
        schemas = [self._schemas[place] for place in places]
        if len(schemas) == 1 and isinstance(schemas[0], dict):
            # All values are of its own `enum`, if it has one: no need to look for each of them in it.
            own = "enum" if "enum" in schemas[0] else "const"
            schemas = [{name: value for name, value in schemas[0].items() if name != own}]
        restricting = [one for one in schemas if isinstance(one, bool) or not _ANNOTATIONS.issuperset(one)]
        checked: list[Node] = []
        for node in nodes:
            if isinstance(node, Finite):
                texts = tuple(text for text in node.texts if all(self._fits(text, one) for one in restricting))
                checked += [Finite(texts)] if texts else []
            else:
                checked.append(node)
        return list(dict.fromkeys(checked))

    def _met(self, ones: list[Node], others: list[Node]) -> list[Node]:
        if ones == self._anything:
            return others
        met = [found for one in ones for other in others if (found := self._count(meet(one, other)))]
        return list(dict.fromkeys(met))

    def _count(self, node: Node | None) -> Node | None:
        self._made += 1
        if self._made > MAX_NODES:
            raise SchemaError("the schema combines too many alternatives")
        return node

    def _of(self, place: str, schema: dict[str, Any]) -> list[Node]:
        _check_supported(place, schema, self._draft)
        found = _typed(schema, place, self._draft)
        if "$ref" in schema:
            found = self._met(found, self._at(target(schema["$ref"])))
        for index in range(len(schema.get("allOf", ()))):
            found = self._met(found, self._at(below(place, "allOf", index)))
        if "anyOf" in schema:
            branches = [self._at(below(place, "anyOf", i)) for i in range(len(schema["anyOf"]))]
            found = self._met(found, [node for branch in branches for node in branch])
        if "oneOf" in schema:
            branches = [self._at(below(place, "oneOf", i)) for i in range(len(schema["oneOf"]))]
            found = self._met(found, self._exclusion.apart(below(place, "oneOf"), branches))
        if "enum" in schema or "const" in schema:
            values = schema["enum"] if "enum" in schema else [schema["const"]]
            found = [Finite(tuple(dict.fromkeys(_text(place, value) for value in values)))]
        return found


def _check_supported(place: str, schema: dict[str, Any], draft: str) -> None:
    for name, value in schema.items():
        if name in ("uniqueItems", "minProperties") and not value:
            continue
        old_only, new_only = name == "additionalItems", name == "prefixItems"
        is_of_draft = not (old_only if draft == keywords.LATEST else new_only)
        if name in ("uniqueItems", "minProperties") or not is_of_draft or (name not in _KNOWN and name[:2] != "x-"):
            refuse(place, f"'{shown(name)}' is not supported")


def _text(place: str, value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        refuse(place, "a value holds half a character, which cannot be written")
    return text


def _typed(schema: dict[str, Any], place: str, draft: str) -> list[Node]:
    """What a schema's `type` and the keywords of single types say; other keywords are not looked at.

    Without a `type`, a keyword of a type means that type: `properties` an object. JSON Schema itself would let anything
    else pass there.
    """
    names = schema.get("type", list(keywords.TYPES))
    types = [names] if isinstance(names, str) else list(names)
    if "number" in types and "integer" in types:
        types.remove("integer")
    return [_node(schema, place, name, "type" not in schema, draft) for name in types]


def _node(schema: dict[str, Any], place: str, name: str, is_untyped: bool, draft: str) -> Node:
    family = _FAMILIES.get("number" if name == "integer" else name, set())
    used = {one for one in family if one in schema and (one != "format" or schema[one] in formats.WRITTEN)}
    implied = is_untyped and not used
    if name == "string":
        patterns = [schema["pattern"]] if "pattern" in schema else []
        patterns += [formats.WRITTEN[schema["format"]]] if "format" in used else []
        return String(*_counts(schema, place, "Length"), tuple(patterns), implied)
    if name in ("integer", "number"):
        return _number(schema, place, name == "integer", implied)
    if name == "array":
        key = "prefixItems" if draft == keywords.LATEST or not isinstance(schema.get("items"), list) else "items"
        prefix = tuple((below(place, key, i),) for i in range(len(schema.get(key, ()))))
        rest_key = "items" if key == "prefixItems" else "additionalItems"
        rest = (below(place, rest_key),) if rest_key in schema else None
        return Array(prefix, rest, *_counts(schema, place, "Items"), implied)
    if name == "object":
        members = tuple((one, (below(place, "properties", one),)) for one in schema.get("properties", ()))
        extra = (below(place, "additionalProperties"),) if "additionalProperties" in schema else None
        return Object(members, tuple(schema.get("required", ())), extra, "properties" in schema, implied)
    return Simple(name, implied)


def _counts(schema: dict[str, Any], place: str, what: str) -> tuple[int, int | None]:
    low, high = schema.get(f"min{what}", 0), schema.get(f"max{what}")
    for key, count in ((f"min{what}", low), (f"max{what}", high)):
        if count is not None and count > MAX_COUNT:
            refuse(place, f"'{key}' above {MAX_COUNT:,} is not supported")
    return int(low), None if high is None else int(high)


def _number(schema: dict[str, Any], place: str, is_integer: bool, implied: bool) -> Number:
    multiple = schema.get("multipleOf", 1)
    if multiple != int(multiple):
        refuse(place, f"'multipleOf' is supported for whole numbers, not for {multiple}")
    lows: list[Bound] = []
    highs: list[Bound] = []
    for bounds, name, exclusive in ((lows, "minimum", "exclusiveMinimum"), (highs, "maximum", "exclusiveMaximum")):
        if isinstance(schema.get(exclusive), bool):
            refuse(place, f"'{exclusive}' is supported as a number only")
        bounds += [Bound(schema[name])] if name in schema else []
        bounds += [Bound(schema[exclusive], True)] if exclusive in schema else []
    return Number(
        max(lows, key=lambda end: (end.value, end.is_exclusive), default=None),
        min(highs, key=lambda end: (end.value, not end.is_exclusive), default=None),
        is_integer or "multipleOf" in schema,
        int(multiple),
        implied,
    )
