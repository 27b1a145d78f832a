"""JSON Schema's keywords, as data: what each must hold, in the drafts from 4 to 2020-12.

Source: json-schema.org, the metaschemas of the drafts. A keyword that stands in no table here restricts nothing by the
specification: validators pass it over.
"""

from __future__ import annotations

# What `$schema` may say, without a trailing `#`; and what is taken where it says nothing.
DRAFTS = {
    "http://json-schema.org/draft-04/schema": "draft4",
    "http://json-schema.org/draft-06/schema": "draft6",
    "http://json-schema.org/draft-07/schema": "draft7",
    "https://json-schema.org/draft/2019-09/schema": "draft2019-09",
    "https://json-schema.org/draft/2020-12/schema": "draft2020-12",
}
LATEST = "draft2020-12"

TYPES = ("object", "array", "string", "integer", "number", "boolean", "null")

# The keyword's value is a schema, a list of schemas, or an object of schemas by name.
ONE_SCHEMA = frozenset({
    *("additionalProperties", "propertyNames", "unevaluatedProperties"),
    *("additionalItems", "contains", "unevaluatedItems"),
    *("not", "if", "then", "else", "contentSchema"),
})  # fmt: skip
SCHEMAS = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
NAMED_SCHEMAS = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
# `items` is a schema, up to 2019-09 also a list of them; `dependencies` names schemas or lists of names.

COUNTS = frozenset({
    *("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"),
    *("minContains", "maxContains"),
})  # fmt: skip
NUMBERS = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"})
FLAGS = frozenset({"uniqueItems", "deprecated", "readOnly", "writeOnly"})
TEXTS = frozenset({
    *("pattern", "format", "title", "description", "$comment", "contentMediaType", "contentEncoding"),
    *("$schema", "$id", "$ref", "$anchor", "$dynamicRef", "$dynamicAnchor"),
})  # fmt: skip
