"""Plain Python functions as tools: what a model is told of them, and what comes of calling them."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, NewType, Optional, TypedDict, Union

import pytest

from minichat.tools import docstrings, hints
from minichat.tools.calling import Limits, Result, call
from minichat.tools.process import run
from minichat.tools.toolbox import load_tools
from quant.errors import DataError, ToolError

WEATHER = '''
"""Tools about the weather."""
from __future__ import annotations
import asyncio, dataclasses, enum, functools, helper
from typing import Annotated, Literal, TypedDict

print("while it is loaded")

class Unit(enum.Enum):
    CELSIUS = "celsius"
    FAHRENHEIT = "fahrenheit"

@dataclasses.dataclass
class Place:
    city: str
    height: float = 0.0

def get_current_weather(location: str, format: Literal["celsius", "fahrenheit"] = "celsius") -> str:
    """The current weather
    in a place.

    Args:
        location: The city and the country,
            such as Paris, France.
        format (str, optional): The unit.

    Returns:
        A text.
    """
    print("noise", flush=True)
    __import__("os").system("echo more noise")
    return f"22 {format} in {location}"

async def later(places: list[Place], unit: Annotated[Unit | None, "The unit."] = None, *, tags: set[str] = frozenset()):
    await asyncio.sleep(0)
    return {"first": places[0], "unit": unit, "tags": tags, "é": helper.WHAT}

@functools.cache
def fails(n: int):
    raise ValueError("no such city\\nat all")

def leaves(): raise SystemExit(0)

def nothing(): pass

def reads(): return input()

def floods(): return "x" * 1_000_000

def dies():
    import os
    os.abort()

def half(): return "\\ud800"

def _hidden(x): pass
other_name = nothing
from json import dumps
'''


def written(folder: Path, text: str) -> Path:
    path = folder / "my tools.py"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def weather(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tools")
    (folder / "helper.py").write_text("WHAT = 'ü'\n")
    (folder / "json.py").write_text("raise ImportError('this is not the json that you look for')\n")
    return written(folder, WEATHER.replace("from json import dumps\n", "from shlex import quote\n"))


@pytest.fixture
def called(weather: Path) -> Callable[..., Result]:
    toolbox = load_tools(weather)
    return lambda name, **arguments: call(toolbox, name, arguments, Limits(seconds=60))


def test_functions_are_described(weather: Path) -> None:
    toolbox = load_tools(weather)
    names = ["get_current_weather", "later", "fails", "leaves", "nothing", "reads", "floods", "dies", "half"]
    assert [tool.name for tool in toolbox.tools] == names
    first, second, *_ = toolbox.tools
    assert first.description == "The current weather in a place."
    assert first.parameters == {
        "type": "object",
        "properties": {
            "location": {"type": "string", "description": "The city and the country, such as Paris, France."},
            "format": {"type": "string", "enum": ["celsius", "fahrenheit"], "description": "The unit."},
        },
        "required": ["location"],
    }
    place = {
        "type": "object",
        "properties": {"city": {"type": "string"}, "height": {"type": "number"}},
        "required": ["city"],
    }
    assert second.parameters["properties"] == {
        "places": {"type": "array", "items": place},
        "unit": {
            "anyOf": [{"type": "string", "enum": ["celsius", "fahrenheit"]}, {"type": "null"}],
            "description": "The unit.",
        },
        "tags": {"type": "array", "items": {"type": "string"}},
    }
    assert toolbox.folder == weather.parent
    assert toolbox.commands["later"][0] == sys.executable
    assert toolbox.commands["later"][2:] == ("--call", str(weather), "later")


def test_the_persons_folder_stays_as_it_was(weather: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    load_tools(weather)
    assert sorted(os.listdir(weather.parent)) == ["helper.py", "json.py", "my tools.py"]  # noqa: PTH208


def test_the_result_is_what_is_returned_and_nothing_that_is_printed(called: Callable[..., Result]) -> None:
    assert called("get_current_weather", location="Zürich") == Result("22 celsius in Zürich")
    assert called("nothing") == Result("null")


def test_values_are_what_the_hints_say_and_results_are_json(called: Callable[..., Result]) -> None:
    result = called("later", places=[{"city": "Bern", "height": 542}], unit="celsius", tags=["a", "a"])
    first = {"city": "Bern", "height": 542.0}
    assert json.loads(result.text) == {"first": first, "unit": "celsius", "tags": ["a"], "é": "ü"}
    assert '"é": "ü"' in result.text


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("fails", {"n": 1}, "ValueError: no such city"),
        ("fails", {}, "missing 1 required positional argument: 'n'"),
        ("fails", {"n": "1"}, "TypeError: n must be of the type integer"),
        ("fails", {"m": 1}, "TypeError: fails has no parameter 'm'"),
        ("later", {"places": [], "unit": "kelvin"}, "TypeError: unit must be one of "),
        ("later", {"places": [{}]}, "missing 1 required positional argument: 'city'"),
        ("later", {"places": [{"town": "x"}]}, "TypeError: places has no field 'town'"),
        ("leaves", {}, "SystemExit: 0"),
        ("reads", {}, "EOFError"),
        ("dies", {}, "failed with SIGABRT"),
    ],
)
def test_what_goes_wrong_is_told(
    called: Callable[..., Result], name: str, arguments: dict[str, Any], said: str
) -> None:
    result = called(name, **arguments)
    assert result.failed
    assert result.text.startswith("Error: ")
    assert said in result.text
    assert "Traceback" not in result.text


def test_floods_and_half_characters(called: Callable[..., Result]) -> None:
    assert called("floods").text.endswith("[cut: the output is longer than 65,536 bytes]")
    assert called("half") == Result("\\ud800")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def f(:\n", ", line 1: SyntaxError: invalid syntax"),
        ("x = 1\n\nimport no_such_module\n", ", line 3: ModuleNotFoundError: No module named 'no_such_module'"),
        ("def g(): return 1 / 0\n\n\ng()\n", ", line 1: ZeroDivisionError: division by zero"),
        ("import sys\nsys.exit(3)\n", ", line 2: SystemExit: 3"),
        (
            "import os\nfor fd in range(3, 64):\n    try: os.write(fd, b'{\"tools\": 5}')\n    except OSError: pass\n"
            "os._exit(0)\n",
            " wrote something of its own where its functions are described",
        ),
        ("import os\nos._exit(7)\n", " ended Python while it was loaded (exit code 7)"),
        ("import os\nos.abort()\n", " ended Python while it was loaded (SIGABRT)"),
        ("", ": no functions are defined in it"),
        ("def _f(): pass\n", ": no functions are defined in it"),
        ("x = 1\ndef f(x): pass\n", ", line 2: f: the parameter x has no type hint"),
        ("def f(*x: int): pass\n", ", line 1: f: the parameter x has no name to be given by"),
        ("def f(**x: int): pass\n", ", line 1: f: the parameter x has no name to be given by"),
        ("def f(x: int, /): pass\n", ", line 1: f: the parameter x has no name to be given by"),
        ("def f(x: complex): pass\n", ", line 1: f: the parameter x has the type complex, which"),
        ("def f(x: tuple[int, str]): pass\n", ", line 1: f: the parameter x has the type tuple[int, str], which"),
        ("def f(x: 'Nowhere'): pass\n", ", line 1: f: a type hint cannot be read: name 'Nowhere' is not defined"),
        ("def f(x: list['complex']): pass\n", "has the type complex, which a model cannot be told of"),
        ("def ü(): pass\n", ": a tool's name is 1 to 64 letters"),
        ("\0", ": source code string cannot contain null bytes"),
    ],
)
def test_what_is_no_file_of_functions_is_refused_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(DataError) as caught:
        load_tools(path)
    assert said in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_file_that_does_not_come_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minichat.tools.toolbox._DESCRIBING", Limits(seconds=0.5, output_bytes=1000))
    with pytest.raises(ToolError, match=r"did not come to its end within 0\.5 s"):
        load_tools(written(tmp_path, "while True: pass\n"))


def test_what_a_file_prints_cannot_pass_for_its_description(tmp_path: Path) -> None:
    forged = "import os\nos.write(1, b'{\"tools\": []}')\nprint('{\"tools\": []}')\ndef f(): pass\n"
    assert [tool.name for tool in load_tools(written(tmp_path, forged)).tools] == ["f"]


class Point(TypedDict, total=False):
    x: int


Metres = NewType("Metres", float)


@pytest.mark.parametrize(
    ("hint", "schema"),
    [
        (str, {"type": "string"}),
        (int, {"type": "integer"}),
        (float, {"type": "number"}),
        (bool, {"type": "boolean"}),
        (Any, {}),
        (list, {"type": "array"}),
        (list[Any], {"type": "array", "items": {}}),
        (tuple[int, ...], {"type": "array", "items": {"type": "integer"}}),
        (dict, {"type": "object"}),
        (
            dict[str, list[int]],
            {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "integer"}}},
        ),
        (Literal["a", 1, None], {"enum": ["a", 1, None]}),
        (Optional[int], {"anyOf": [{"type": "integer"}, {"type": "null"}]}),  # noqa: UP045
        (Union[int, str], {"anyOf": [{"type": "integer"}, {"type": "string"}]}),  # noqa: UP007
        (Annotated[int, 7, "How many."], {"type": "integer", "description": "How many."}),
        (Metres, {"type": "number"}),
        (Point, {"type": "object", "properties": {"x": {"type": "integer"}}}),
    ],
)
def test_hints_become_schemas(hint: Any, schema: dict[str, Any]) -> None:
    from jsonschema import Draft7Validator

    assert hints.schema_of(hint, "f") == schema
    Draft7Validator.check_schema(schema)


@pytest.mark.parametrize(
    "hint", [bytes, complex, object(), dict[int, str], tuple[int], Literal[b"x"], type, list[bytes], int | bytes, "x"]
)
def test_other_hints_are_refused(hint: Any) -> None:
    with pytest.raises(hints.HintError, match=r"^f: x has "):
        hints.schema_of(hint, "f: x")


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        (3, float, 3.0),
        (3.0, int, 3),
        ([1, 2], tuple[int, ...], (1, 2)),
        ({"x": 1}, Point, {"x": 1}),
        (None, int | None, None),
        ("a", int | str, "a"),
        ({"a": [1]}, dict[str, set[int]], {"a": {1}}),
        (1, Literal[True, 1], 1),
        (2, Metres, 2.0),
    ],
)
def test_values_are_converted(value: Any, hint: Any, expected: Any) -> None:
    found = hints.converted(value, hint, "x")
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (True, int),
        (1, bool),
        (1.5, int),
        ("1", int),
        (None, str),
        ("ab", list[str]),
        ([], dict),
        (1, Literal["1", True]),
    ],
)
def test_other_values_are_refused(value: Any, hint: Any) -> None:
    with pytest.raises(TypeError, match=r"^x must be "):
        hints.converted(value, hint, "x")


@pytest.mark.parametrize(
    ("text", "description", "parameters"),
    [
        ("", "", {}),
        ("One line.", "One line.", {}),
        ("\n\nTwo\nlines.\n\nMore.", "Two lines.", {}),
        ("Args:\n    a: b", "", {"a": "b"}),
        (
            "T.\n\nArgs:\n  a: b: c\n  d (list[int]): e\n\n  *f: g\n\nReturns:\n  h: i",
            "T.",
            {"a": "b: c", "d": "e", "f": "g"},
        ),
        (
            "T.\n\nParameters\n----------\na, b : int\n    Both.\n\nReturns\n-------\nc : int\n    None.",
            "T.",
            {"a": "Both.", "b": "Both."},
        ),
        ("T.\n:param a: b\n   c\n:param int d: e\n:return: f", "T.", {"a": "b c", "d": "e"}),
        ("Parameters\n----------\na\n    Text.", "", {"a": "Text."}),
    ],
)
def test_docstrings_are_read(text: str, description: str, parameters: dict[str, str]) -> None:
    assert docstrings.read(text) == docstrings.Docstring(description, parameters)


def test_the_script_needs_nothing_but_the_standard_library() -> None:
    script = Path(hints.__file__).with_name("functions.py")
    without_packages = [sys.executable, "-S", "-E", str(script)]
    ended = run([*without_packages, "--describe", "none.py"], b"", script.parent, Limits(seconds=60))
    assert json.loads(ended.output)["problem"].startswith("FileNotFoundError: ")
