"""Calls of a model, before they are run."""

import pytest

from minichat.template.messages import Call
from minichat.template.tools import Tool
from minichat.tools.checking import checked

WEATHER = Tool(
    "get_current_weather",
    parameters={
        "type": "object",
        "properties": {"location": {"type": "string"}, "format": {"enum": ["celsius", "fahrenheit"]}},
        "required": ["location"],
    },
)
TOOLS = [WEATHER, Tool("now")]


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        (
            "get_current_weather",
            '{"location": "Zürich", "format": "celsius"}',
            {"location": "Zürich", "format": "celsius"},
        ),
        ("now", "{}", {}),
        ("now", "", {}),
        ("now", '{"anything": [1.5, null]}', {"anything": [1.5, None]}),
    ],
)
def test_right_calls(name: str, arguments: str, expected: dict[str, object]) -> None:
    assert checked(TOOLS, Call(name, arguments)) == (expected, None)


@pytest.mark.parametrize(
    ("name", "arguments", "problem"),
    [
        ("get_weather", "{}", 'there is no tool "get_weather"; did you mean get_current_weather?'),
        ("zzz", "{}", 'there is no tool "zzz"; there are: get_current_weather, now'),
        ("now", "{", "now: the arguments are not valid JSON: "),
        ("now", '{"a": NaN}', "now: the arguments are not valid JSON: NaN is no number of JSON"),
        ("now", '{"a": ' + "1" * 5000 + "}", "now: the arguments are not valid JSON: Exceeds the limit"),
        ("now", r'{"a": "\udc00"}', "now: the arguments hold half a character"),
        ("now", '{"a":' * 100_000, "now: the arguments are nested too deeply"),
        ("now", '{"a": "' + "x" * (1 << 20) + '"}', "now: the arguments are longer than 1,048,576 characters"),
        ("now", "[1]", "now: the arguments must be a JSON object"),
        ("get_current_weather", "{}", "get_current_weather: 'location' is missing"),
        (
            "get_current_weather",
            '{"location": "Bern", "format": "kelvin"}',
            "get_current_weather: format: 'kelvin' is none of",
        ),
    ],
)
def test_what_is_wrong_is_told_in_one_line(name: str, arguments: str, problem: str) -> None:
    none, said = checked(TOOLS, Call(name, arguments))
    assert none is None
    assert said is not None
    assert said.startswith(problem)
    assert "\n" not in said


def test_a_hostile_name_is_told_shortly() -> None:
    _, said = checked([], Call("\x1b[2J\n" + "x" * 1_000_000, "{}"))
    assert said is not None
    assert len(said) < 200
    assert said.isprintable()


def test_tools_are_read_by_the_draft_that_mistral_common_reads_them_by() -> None:
    pair = Tool("pair", parameters={"properties": {"xy": {"items": [{"type": "integer"}, {"type": "string"}]}}})
    assert checked([pair], Call("pair", '{"xy": [1, "a"]}'))[1] is None
    assert checked([pair], Call("pair", '{"xy": ["a", 1]}'))[1] is not None
