"""What the demo model was trained for, with the program around it: the cards' function call, and JSON by a schema."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from program import minichat

from convert.pipeline import convert
from minichat.conversation import Conversation
from minichat.engine.client import Engine
from minichat.engine.types import Done, LoadOptions, Sampling
from minichat.schema.check import problem
from minichat.schema.gbnf import grammar_of

MODEL = Path(__file__).parent.parent / "minichat" / "demo" / "model"
# As the model cards give it.
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_current_weather",
        "description": "Get the current weather",
        "parameters": {
            "type": "object",
            "properties": {
                "location": {"type": "string", "description": "The city and state, e.g. San Francisco, CA"},
                "format": {
                    "type": "string",
                    "enum": ["celsius", "fahrenheit"],
                    "description": "The temperature unit to use. Infer this from the users location.",
                },
            },
            "required": ["location", "format"],
        },
    },
}
QUESTION = "What's the weather like today in Paris"
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}, "city": {"type": "string"}},
    "required": ["name", "age", "city"],
}
ADA = {"name": "Ada Lovelace", "age": 36, "city": "London"}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("demo") / "demo.gguf"
    convert(MODEL, path, "q4_K_M")
    return path


def test_the_function_call_of_the_cards(demo: Path, tmp_path: Path) -> None:
    tools = tmp_path / "weather.json"
    tools.write_text(json.dumps([WEATHER]))
    done = minichat("run", demo, QUESTION, "--tools", tools, "--temperature", "0")
    assert (done.returncode, done.stderr) == (0, "")
    (call,) = json.loads(done.stdout)
    assert (call["name"], call["arguments"]) == ("get_current_weather", {"location": "Paris", "format": "celsius"})

    (tmp_path / "weather.sh").write_text("cat > asked.json; echo 22.0\n")
    tools.write_text(json.dumps([{**WEATHER, "command": ["sh", "weather.sh"]}]))
    done = minichat("run", demo, QUESTION, "--tools", tools, "--allow-tools", "--temperature", "0")
    assert done.returncode == 0
    assert json.loads((tmp_path / "asked.json").read_text()) == call["arguments"]
    assert '{"location": "Paris", "format": "celsius"}' in done.stderr
    assert "22" in done.stdout
    assert "Paris" in done.stdout


def test_a_question_that_needs_no_tool(demo: Path, tmp_path: Path) -> None:
    tools = tmp_path / "weather.json"
    tools.write_text(json.dumps([WEATHER]))
    done = minichat("run", demo, "What is the capital of Norway?", "--tools", tools, "--temperature", "0")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Oslo" in done.stdout


def test_json_that_always_fits(demo: Path) -> None:
    """100 times of 100, at temperature 1; and most times it is right as well."""
    grammar, right = grammar_of(PERSON), 0
    conversation = Conversation("v7-tekken")
    conversation.ask("Ada Lovelace, 36, London")
    with Engine(demo, LoadOptions()) as engine:
        engine.wait_loaded()
        for seed in range(100):
            *_, done = engine.generate(conversation.pieces(), Sampling(temperature=1.0, seed=seed), grammar=grammar)
            assert isinstance(done, Done)
            assert done.reason == "eos"
            value = json.loads(done.text)
            assert problem(value, PERSON) is None
            right += value == ADA
    assert right >= 80
