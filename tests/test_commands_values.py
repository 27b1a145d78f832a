"""Plain values are what typer makes of them, and all that it refuses, or reads otherwise, is left to it."""

import subprocess
import sys
from typing import Annotated, Any

import pytest
import typer

from minichat.commands.program import application
from minichat.commands.values import plain_value, read_plainly

WORDS = ["0", "7", "-1", "100", "101", "007", "+5", "1_0", " 4", "4 ", "1.0", "0.5", "-.5", "1e3", "1.", "inf", "nan"]
WORDS += ["", "abc", "٣", "99999999999999999999", "0x10", "True", "-0", "1.5.2", "\udce9"]

MANY = ["--several", "a", "b", "--several=", "--several", "-"]


def program() -> Any:
    app = typer.Typer()

    @app.command()
    def number(
        whole: Annotated[int, typer.Option("--whole", min=0, max=100)] = 5,
        part: Annotated[float, typer.Option("--part", min=0, max=2)] = 1.0,
        free: Annotated[int | None, typer.Option("--free")] = None,
        text: Annotated[str | None, typer.Option("--text")] = None,
        switch: Annotated[bool | None, typer.Option("--switch/--no-switch")] = None,
        several: Annotated[list[str] | None, typer.Option("--several")] = None,
        many: Annotated[list[str] | None, typer.Argument()] = None,
    ) -> None:
        found.append((whole, part, free, text, switch, several, many))

    @app.command()
    def other() -> None: ...

    return typer.main.get_command(app)


found: list[Any] = []


def result(command: Any, arguments: list[str]) -> Any:
    """What the command was given, types and all, or how typer words the error."""
    found.clear()
    try:
        with command.make_context("x", ["number", *arguments]) as context:
            command.invoke(context)
    except typer.BadParameter.__mro__[1] as error:  # type: ignore[misc]
        return error.format_message()
    return [(value, type(value)) for value in found[0]]


@pytest.mark.parametrize("option", ["--whole", "--part", "--free", "--text"])
def test_a_value_is_what_typer_makes_of_it(option: str) -> None:
    plainly, as_ever = program(), program()
    read_plainly(plainly)
    for word in WORDS:
        assert result(plainly, [f"{option}={word}"]) == result(as_ever, [f"{option}={word}"]), word


def test_defaults_switches_and_lists_are_as_ever() -> None:
    for arguments in ([], ["--switch"], ["--no-switch", "a", "b"], ["--nonsense"], ["--whole"], MANY):
        plainly = program()
        read_plainly(plainly)
        assert result(plainly, arguments) == result(program(), arguments)


def test_plain_values_are_exact() -> None:
    assert plain_value("0.1", float, None, None) == 0.1
    assert plain_value("9" * 15, int, None, None) == 10**15 - 1
    assert plain_value("9" * 16, int, None, None) is None


def test_run_and_map_know_the_same_commands_alone_and_among_all() -> None:
    everything = typer.main.get_command(application()).commands  # type: ignore[attr-defined]
    for name in ("run", "map"):
        alone = typer.main.get_command(application(name)).commands  # type: ignore[attr-defined]
        assert name in alone
        assert set(alone) <= set(everything)
        assert [p.opts for p in alone[name].params] == [p.opts for p in everything[name].params]


def test_an_answer_waits_for_no_pydantic() -> None:
    code = (
        "import sys; import minichat.engine.starting as s; s.start_early = lambda: None\n"
        "from minichat.commands.program import run\n"
        "try: run(['run', './none.gguf', 'hello', '--temperature', '0', '--max-tokens', '16'])\n"
        "except Exception as error: print(error, [m for m in ('pydantic', 'rich', 'numpy') if m in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert said.stdout.strip() == "none.gguf: no such file or folder []"
