"""Files of tools: what is read of them, and what is refused in one line."""

import json
import random
import sys
from pathlib import Path
from typing import Any

import pytest

from minichat.template.tools import Tool
from minichat.tools.toolbox import load_tools
from quant.errors import DataError

WEATHER: dict[str, Any] = {
    "name": "get_current_weather",
    "description": "Get the current weather",
    "parameters": {
        "type": "object",
        "properties": {
            "location": {"type": "string", "description": "The city and the country"},
            "format": {"type": "string", "enum": ["celsius", "fahrenheit"]},
        },
        "required": ["location", "format"],
    },
}


def tool(command: object = None, /, **changes: object) -> dict[str, Any]:
    return {"type": "function", "function": WEATHER | changes} | ({} if command is None else {"command": command})


def written(folder: Path, value: object) -> Path:
    path = folder / "tools.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        load_tools(path)
    message = str(caught.value)
    assert "\n" not in message
    assert caught.value.exit_code == 3
    return message.replace(str(path), "FILE")


def test_tools_and_their_commands(tmp_path: Path) -> None:
    inside = {"type": "function", "function": WEATHER | {"name": "inside", "command": ["python3", "x.py"]}}
    absolute = tool([sys.executable, "-V"], name="absolute")
    path = written(tmp_path, [tool(["./weather.py", "--metric"]), inside, absolute, tool(name="bare")])
    toolbox = load_tools(path)
    assert toolbox.tools[0] == Tool("get_current_weather", "Get the current weather", WEATHER["parameters"])
    assert [one.name for one in toolbox.tools] == ["get_current_weather", "inside", "absolute", "bare"]
    assert toolbox.commands == {
        "get_current_weather": (str(tmp_path / "weather.py"), "--metric"),
        "inside": ("python3", "x.py"),
        "absolute": (sys.executable, "-V"),
    }
    assert toolbox.folder == tmp_path
    assert toolbox.has_command("inside")
    assert not toolbox.has_command("bare")


def test_the_folder_is_known_by_its_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, [tool(["bin/weather"])])
    monkeypatch.chdir(tmp_path)
    toolbox = load_tools(Path("tools.json"))
    assert toolbox.folder == tmp_path
    assert toolbox.commands["get_current_weather"] == (str(tmp_path / "bin" / "weather"),)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("[", "FILE is not valid JSON: Expecting value (line 1, column 2)"),
        ("[NaN]", "FILE is not valid JSON: NaN is no number of JSON"),
        ("[" * 100_000, "FILE is not valid JSON: nested too deeply"),
        ("[" + "9" * 5000 + "]", "FILE is not valid JSON: Exceeds the limit"),
        (r'["\ud800"]', "FILE holds half a character"),
        ({"tools": []}, "FILE must be a JSON list"),
        ([], "FILE holds no tools"),
        ([7], "FILE: tool 1 must be"),
        (
            [tool(), tool(name="get weather")],
            "FILE: a tool's name is 1 to 64 letters, digits, - and _, not 'get weather'",
        ),
        ([tool(), tool()], "FILE: tool 2 (get_current_weather) has the name of an earlier one"),
        ([tool(parameters={"type": "obj"})], "FILE: the parameters of get_current_weather are no JSON Schema"),
        ([tool(parameters={"$ref": "http://127.0.0.1/x"})], "FILE: tool 1 (get_current_weather): its parameters: "),
        ([tool("./weather.py --metric")], 'FILE: tool 1 (get_current_weather): its "command" is a list'),
        ([tool([])], 'its "command" is a list'),
        ([tool([""])], 'its "command" is a list'),
        ([tool(["x", 1])], 'its "command" is a list'),
        ([tool(["x\0"])], 'its "command" is a list'),
        ([tool(["x"], command=["y"])], "has two commands"),
    ],
)
def test_what_is_no_file_of_tools_is_refused(tmp_path: Path, value: object, said: str) -> None:
    assert said in refusal(written(tmp_path, value))


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refusal(tmp_path / "none.json") == "FILE: No such file or directory"
    assert refusal(tmp_path / "none.py") == "FILE: No such file or directory"
    assert refusal(tmp_path) == "FILE: Is a directory"
    path = tmp_path / "tools.json"
    path.write_bytes(b'["\xff"]')
    assert refusal(path) == "FILE is not UTF-8 text (byte 2)"
    monkeypatch.setattr("minichat.tools.toolbox.MAX_FILE_BYTES", 3 << 20)
    path.write_bytes(b" " * (3 << 20) + b"[]")
    assert refusal(path) == "FILE is larger than 3 MB: no file of tools is"


def test_a_hundred_damaged_files_are_read_or_refused(tmp_path: Path) -> None:
    text = json.dumps([tool(["./weather.py"]), tool(name="other")])
    rng = random.Random(5)
    outcomes = set()
    for _ in range(300):
        at, length = rng.randrange(len(text)), rng.randrange(4)
        damaged = text[:at] + "".join(rng.choices('[]{}",:0a\\ ', k=rng.randrange(4))) + text[at + length :]
        try:
            load_tools(written(tmp_path, damaged))
            outcomes.add("read")
        except DataError as error:
            assert "\n" not in str(error)
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}
