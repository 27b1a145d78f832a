"""The tools that a model may call, and how its template shows them.

    [{"type": "function", "function": {"name": "get_current_weather", "description": "The weather now",
      "parameters": {"type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]}}}]

This is OpenAI's shape. `strict`, and the `command` that minichat runs, are no part of what a model is shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from minichat.template.json_text import dumps
from minichat.template.rules import NAME
from quant.errors import TemplateError

_PASSED_OVER = {"command", "strict"}


@dataclass(frozen=True)
class Tool:
    """One function that the model may call. parameters: a JSON Schema of its arguments, an object's."""

    name: str
    description: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)


def parse_tools(value: object, where: str = "the tools") -> tuple[Tool, ...]:
    """The tools in a value that was read from JSON. where: what an error's line begins with, such as a file's name.

    Raises TemplateError, one line that names the tool (counted from 1), for another shape, a name that no template can
    hold and parameters that are no JSON Schema.

    >>> parse_tools([{"type": "function", "function": {"name": "now"}}])
    (Tool(name='now', description='', parameters={}),)
    """
    if not isinstance(value, list):
        raise TemplateError(f'{where} must be a JSON list: [{{"type": "function", "function": {{"name": "..."}}}}]')
    tools = tuple(_tool(item, f"{where}: tool {number}") for number, item in enumerate(value, start=1))
    check_tools(tools, f"{where}: ")
    return tools


def _tool(item: object, where: str) -> Tool:
    function = item.get("function") if isinstance(item, dict) else None
    if not isinstance(item, dict) or not isinstance(function, dict) or item.get("type", "function") != "function":
        raise TemplateError(
            f'{where} must be {{"type": "function", "function": {{"name": "...", "parameters": {{}}}}}}'
        )
    unknown = {*item} - {"type", "function"} | {*function} - {"name", "description", "parameters"}
    if unknown := unknown - _PASSED_OVER:
        raise TemplateError(f"{where} has a field that minichat does not know: {min(unknown)[:40]!r}")
    name = function.get("name")
    description = function.get("description")
    parameters = function.get("parameters")
    if not isinstance(name, str):
        raise TemplateError(f'{where} has no "name"')
    if not isinstance(description, str | None):
        raise TemplateError(f'{where}: "description" is a string')
    if not isinstance(parameters, dict | None):
        raise TemplateError(f'{where}: "parameters" is a JSON Schema, an object')
    return Tool(name, description or "", parameters or {})


def check_tools(tools: Sequence[Tool], where: str = "") -> None:
    """Raises TemplateError for a tool that mistral-common refuses: by its name, or parameters that are no JSON Schema.

    A schema is one of Draft 7, as there.
    """
    for tool in tools:
        if not NAME.fullmatch(tool.name):
            raise TemplateError(f"{where}a tool's name is 1 to 64 letters, digits, - and _, not {tool.name[:70]!r}")
        if problem := _schema_problem(tool.parameters):
            raise TemplateError(f"{where}the parameters of {tool.name} are no JSON Schema: {problem}")


def _schema_problem(schema: dict[str, Any]) -> str | None:
    from jsonschema import Draft7Validator  # type: ignore[import-untyped]
    from jsonschema.exceptions import SchemaError  # type: ignore[import-untyped]

    try:
        Draft7Validator.check_schema(schema)
    except SchemaError as error:
        return " ".join(error.message.split())[:200]
    except RecursionError:
        return "nested too deeply"
    return None


def tools_json(tools: Sequence[Tool]) -> str:
    """The list as a model is shown it: mistral-common's JSON text, with its keys in its order.

    >>> tools_json([Tool("now", "The time")])
    '[{"type": "function", "function": {"name": "now", "description": "The time", "parameters": {}}}]'
    """
    return dumps([tool_value(tool) for tool in tools])


def tool_value(tool: Tool) -> dict[str, Any]:
    """A tool in OpenAI's shape, as plain data."""
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}
