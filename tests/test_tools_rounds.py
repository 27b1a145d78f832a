"""From a question to an answer, with a model that says what it is told to and tools that are small scripts."""

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from minichat.conversation import EMBEDDED, Conversation
from minichat.engine.types import Done, Reason, Stats
from minichat.template import VERSIONS
from minichat.template.messages import Call, Message
from minichat.template.pieces import Piece, Tokens
from minichat.template.tools import Tool
from minichat.tools.calling import Limits, Result
from minichat.tools.rounds import DECLINED, INTERRUPTED, NOT_RUN, TOO_LONG, Outcome, Rounds, with_ids
from minichat.tools.toolbox import Toolbox
from quant.errors import ContextError, EngineError, TemplateError, ToolError

STATS = Stats(1, 0, 1, 0.1, 0.1, 0.1, 2)
QUESTION = "What is the weather in Paris?"
WITH_TOOLS = [name for name, version in VERSIONS.items() if version.rules.tools]
PARAMETERS = {"type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]}
TOOLS = (Tool("weather", parameters=PARAMETERS), Tool("fail"), Tool("deep"), Tool("byhand"))
SCRIPTS = {
    "weather": "import json, sys; print(22, 'in', json.load(sys.stdin)['location'])",
    "fail": "import sys; sys.exit('no such city')",
    "deep": "print('[' * 20_000 + ']' * 20_000)",
}


def said(*spans: str | tuple[str], reason: Reason = "eos", tokens: tuple[int, ...] = (7, 8)) -> Done:
    """An answer: texts, and control tokens as tuples of one."""
    flat = tuple((span, False) if isinstance(span, str) else (span[0], True) for span in spans)
    texts = []
    for text, is_control in flat:
        if is_control:
            break
        texts.append(text)
    return Done(reason, "".join(texts), tokens, STATS, flat)


def calls(version: str, *wanted: tuple[str, dict[str, Any]], text: str = "", ids: Sequence[str] = ()) -> Done:
    """An answer that calls tools, in the form of its version."""
    given = list(ids) or [f"call0000{i}" for i in range(len(wanted))]
    if version in ("v2", "v3", "v3-tekken", "v7", "v7-tekken"):
        values = [
            {"name": name, "arguments": arguments} | ({} if version == "v2" else {"id": call_id})
            for (name, arguments), call_id in zip(wanted, given, strict=True)
        ]
        return said(text, ("[TOOL_CALLS]",), json.dumps(values))
    spans: list[str | tuple[str]] = [text]
    for (name, arguments), call_id in zip(wanted, given, strict=True):
        spans += [("[TOOL_CALLS]",), name, *([("[CALL_ID]",), call_id] if version == "v11" else [])]
        spans += [("[ARGS]",), json.dumps(arguments)]
    return said(*spans)


PARIS = ("weather", {"location": "Paris"})
ROME = ("weather", {"location": "Rome"})


@dataclass
class Scene:
    """A conversation with one question, a model that answers from a list, a person who agrees."""

    folder: Path
    version: str = "v7-tekken"
    toolbox: Toolbox = field(default_factory=Toolbox)
    asked: list[tuple[str, Mapping[str, Any], Sequence[str]]] = field(default_factory=list)
    reported: list[Result] = field(default_factory=list)
    prompts: list[list[Message]] = field(default_factory=list)
    agreed: Callable[[Call], bool] = lambda _: True

    def __post_init__(self) -> None:
        commands = {name: (sys.executable, "-c", script) for name, script in SCRIPTS.items()}
        self.toolbox = Toolbox(TOOLS, commands, self.folder)
        self.conversation = Conversation(self.version, tools=TOOLS)
        self.conversation.ask(QUESTION)

    def run(self, *answers: Done | BaseException, **options: Any) -> Outcome:
        left = iter(answers)

        def generate(conversation: Conversation) -> Done:
            conversation.pieces()  # every prompt can be rendered
            self.prompts.append(list(conversation.messages))
            answer = next(left)
            if isinstance(answer, BaseException):
                raise answer
            return answer

        def agree(call: Call, arguments: Mapping[str, Any], command: Sequence[str]) -> bool:
            self.asked.append((call.name, arguments, command))
            return self.agreed(call)

        rounds = Rounds(
            self.conversation, self.toolbox, generate, agree, lambda _, result: self.reported.append(result), **options
        )
        try:
            return rounds.run()
        finally:
            assert next(left, None) is None, "fewer answers were asked for than expected"

    def results(self) -> list[str]:
        return [message.text for message in self.conversation.messages if message.role == "tool"]

    def can_go_on(self) -> None:
        self.conversation.ask("And in Rome?")
        self.conversation.pieces()


@pytest.fixture(params=WITH_TOOLS)
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Scene:
    """One for each version that has tools."""
    return Scene(tmp_path, request.param)


@pytest.fixture
def plain(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_question_call_result_answer(scene: Scene) -> None:
    outcome = scene.run(calls(scene.version, PARIS), said("22 degrees."))
    assert outcome.answer.text == outcome.done.text == "22 degrees."
    assert outcome.calls == ()
    assert scene.asked == [("weather", {"location": "Paris"}, (sys.executable, "-c", SCRIPTS["weather"]))]
    assert scene.reported == [Result("22 in Paris")]
    question, call, result, answer = scene.conversation.messages
    assert question == Message("user", QUESTION)
    assert (call.role, call.calls[0].name, call.calls[0].arguments) == ("assistant", "weather", '{"location": "Paris"}')
    assert call.tokens == (7, 8)
    assert (result.role, result.content, result.name) == ("tool", "22 in Paris", "weather")
    assert result.call_id == call.calls[0].id
    assert answer == Message("assistant", "22 degrees.", (7, 8))
    if scene.version != "v2":  # which forgets calls
        scene.can_go_on()
        assert scene.conversation.pieces().count(Tokens((7, 8))) == 2


def test_an_answer_without_calls_is_the_answer(scene: Scene) -> None:
    outcome = scene.run(said("It reads [TOOL_CALLS]", '[{"name": "weather"}]'))
    assert outcome.answer.text == 'It reads [TOOL_CALLS][{"name": "weather"}]'
    assert scene.asked == []
    scene.can_go_on()


def test_no_tokens_are_no_answer(plain: Scene) -> None:
    plain.run(said(tokens=()))
    assert [message.role for message in plain.conversation.messages] == ["user"]


def test_several_calls_run_in_their_order(scene: Scene) -> None:
    answer = calls(scene.version, PARIS, ROME, text="Let me see.")
    if scene.version == "v2":
        scene.run(answer, said("Sorry."))
        assert "only one tool can be called at a time" in scene.prompts[1][-1].text
        return
    scene.run(answer, said("Both 22."))
    assert [asked[1]["location"] for asked in scene.asked] == ["Paris", "Rome"]
    assert scene.results() == ["22 in Paris", "22 in Rome"]
    ids = [message.call_id for message in scene.conversation.messages if message.role == "tool"]
    assert len(set(ids)) == 2
    scene.can_go_on()


def test_rounds_follow_each_other(scene: Scene) -> None:
    scene.run(calls(scene.version, PARIS), calls(scene.version, ROME), said("Both 22."))
    assert scene.results() == ["22 in Paris", "22 in Rome"]
    scene.can_go_on()


def test_a_call_that_is_declined_has_a_result_that_says_so(scene: Scene) -> None:
    scene.agreed = lambda _: False
    scene.run(calls(scene.version, PARIS), said("Then not."))
    assert scene.results() == [DECLINED]
    assert scene.reported == []
    scene.can_go_on()


def test_a_failure_is_a_result(plain: Scene) -> None:
    plain.run(calls(plain.version, ("fail", {})), said("There is no such city."))
    assert plain.results() == ["Error: fail failed with exit code 1: no such city"]


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (("weather", {}), "Error: weather: 'location' is missing"),
        (("wether", {"location": "Paris"}), 'Error: there is no tool "wether"; did you mean weather?'),
    ],
)
def test_a_wrong_call_is_told_to_the_model_once(scene: Scene, wrong: tuple[str, dict[str, Any]], reason: str) -> None:
    scene.run(calls(scene.version, wrong), calls(scene.version, PARIS), said("22."))
    assert scene.results() == [reason, "22 in Paris"]
    assert len(scene.asked) == 1
    scene.can_go_on()


def test_a_second_wrong_call_is_the_persons(scene: Scene) -> None:
    wrong = calls(scene.version, ("weather", {}))
    with pytest.raises(ToolError, match="called a tool wrongly twice: weather: 'location' is missing"):
        scene.run(wrong, wrong)
    assert len(scene.results()) == 1
    scene.can_go_on()


def test_a_right_call_clears_the_slate(plain: Scene) -> None:
    wrong, right = calls(plain.version, ("weather", {})), calls(plain.version, PARIS)
    plain.run(wrong, right, wrong, right, said("22."))
    assert len(plain.asked) == 2


def test_beside_a_wrong_call_no_other_is_run(plain: Scene) -> None:
    plain.run(calls(plain.version, PARIS, ("byhand", {}), ("weather", {})), said("Sorry."))
    assert plain.results() == [NOT_RUN, NOT_RUN, "Error: weather: 'location' is missing"]
    assert plain.asked == []
    plain.can_go_on()


def malformed(version: str) -> list[Done]:
    if version in ("v11", "v13"):
        return [
            said(("[TOOL_CALLS]",), "weather"),
            said(("[TOOL_CALLS]",), "weather", ("[ARGS]",), '{"location": "Par'),
            said(("[TOOL_CALLS]",), "weather", ("[ARGS]",), '["Paris"]'),
            said(("[TOOL_CALLS]",), "the weather", ("[ARGS]",), "{}"),
        ]
    return [
        said(("[TOOL_CALLS]",)),
        said(("[TOOL_CALLS]",), '[{"name": "weather", "arguments": {"location": "Par'),
        said(("[TOOL_CALLS]",), '[{"name": "weather", "arguments": ["Paris"], "id": "call00000"}]'),
        said(("[TOOL_CALLS]",), '[{"name": "the weather", "arguments": {}, "id": "call00000"}]'),
    ]


@pytest.mark.parametrize("number", range(4))
def test_a_malformed_call_is_told_to_the_model_once(scene: Scene, number: int) -> None:
    bad = malformed(scene.version)[number]
    scene.run(bad, said("22."))
    (first,), (second,) = scene.prompts
    assert first == Message("user", QUESTION)
    assert second.text.startswith(f"{QUESTION}\n\n(Your last answer called a tool in a way that cannot be read: ")
    assert scene.conversation.messages == [first, Message("assistant", "22.", (7, 8))]
    scene.can_go_on()


def test_a_second_malformed_call_is_the_persons(scene: Scene) -> None:
    bad = malformed(scene.version)
    with pytest.raises(ToolError, match="called a tool wrongly twice") as caught:
        scene.run(bad[1], bad[2])
    assert "\n" not in str(caught.value)
    assert scene.conversation.messages == [Message("user", QUESTION)]


def test_malformed_after_a_result_is_told_behind_the_result(scene: Scene) -> None:
    scene.run(calls(scene.version, PARIS), malformed(scene.version)[0], said("22."))
    assert scene.prompts[2][-1].text.startswith("22 in Paris\n\n(Your last answer")
    assert scene.results() == ["22 in Paris"]


def test_the_remark_goes_even_if_the_engine_dies(plain: Scene) -> None:
    with pytest.raises(EngineError):
        plain.run(malformed(plain.version)[0], EngineError("gone"))
    assert plain.conversation.messages == [Message("user", QUESTION)]


@pytest.mark.parametrize(("reason", "hint"), [("length", "--max-tokens"), ("context", "--ctx")])
def test_a_call_that_was_cut_is_the_persons_at_once(plain: Scene, reason: Reason, hint: str) -> None:
    with pytest.raises(ToolError, match=hint):
        plain.run(said(("[TOOL_CALLS]",), '[{"name": "wea', reason=reason))
    assert plain.conversation.messages == [Message("user", QUESTION)]


def test_an_answer_that_was_stopped_calls_nothing(scene: Scene) -> None:
    whole = calls(scene.version, PARIS, text="Let me see.")
    scene.run(Done("stop", whole.text, whole.tokens, STATS, whole.spans))
    assert scene.asked == []
    assert scene.conversation.messages[1:] == [Message("assistant", "Let me see.")]
    scene.can_go_on()


def test_a_stopped_answer_of_calls_alone_is_dropped(scene: Scene) -> None:
    whole = calls(scene.version, PARIS)
    scene.run(Done("stop", "", whole.tokens, STATS, whole.spans))
    assert scene.conversation.messages == [Message("user", QUESTION)]


def test_calls_without_a_command_are_handed_out(scene: Scene) -> None:
    outcome = scene.run(calls(scene.version, ("byhand", {"x": "é"}), text="Wait."))
    (call,) = outcome.calls
    assert (call.name, call.arguments) == ("byhand", '{"x": "é"}')
    assert scene.conversation.messages[-1].calls == (call,)
    scene.conversation.result(call, "done by hand")
    scene.conversation.pieces()
    scene.can_go_on()


def test_one_call_without_a_command_hands_them_all_out(plain: Scene) -> None:
    outcome = plain.run(calls(plain.version, PARIS, ("byhand", {})))
    assert [call.name for call in outcome.calls] == ["weather", "byhand"]
    assert plain.asked == []


def test_an_interruption_leaves_no_call_without_a_result(scene: Scene) -> None:
    def interrupt(call: Call) -> bool:
        if "Rome" in call.arguments:
            raise KeyboardInterrupt
        return True

    scene.agreed = interrupt
    wanted = (ROME,) if scene.version == "v2" else (PARIS, ROME, PARIS)
    with pytest.raises(KeyboardInterrupt):
        scene.run(calls(scene.version, *wanted))
    assert scene.results() == ["22 in Paris", INTERRUPTED, INTERRUPTED][-len(wanted) :]
    scene.can_go_on()


def test_a_model_cannot_call_for_ever(plain: Scene) -> None:
    with pytest.raises(ToolError, match="called tools 3 times in a row without an answer"):
        plain.run(*[calls(plain.version, PARIS)] * 4, most=3)
    assert len(plain.asked) == 3
    plain.can_go_on()


def test_limits_reach_the_command(plain: Scene) -> None:
    plain.run(calls(plain.version, PARIS), said("22."), limits=Limits(seconds=30, output_bytes=4))
    assert plain.results() == ["22 i\n[cut: the output is longer than 4 bytes]"]


def test_a_result_that_no_template_can_show_is_replaced(plain: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    render = Conversation.pieces

    def pieces(self: Conversation) -> list[Piece]:
        if any(message.text == "22 in Paris" for message in self.messages):
            raise TemplateError("nested too deeply")
        return render(self)

    monkeypatch.setattr(Conversation, "pieces", pieces)
    plain.run(calls(plain.version, PARIS), said("Strange."))
    assert plain.results() == ["Error: the result cannot be shown: nested too deeply"]
    plain.can_go_on()


def test_json_that_is_nested_deeply_does_not_stay_in_the_way(tmp_path: Path) -> None:
    for version in ("v2", "v3", "v3-tekken"):  # which read results as JSON
        scene = Scene(tmp_path, version)
        scene.run(calls(version, ("deep", {})), said("Too deep."))
        scene.can_go_on()


def test_a_schema_that_cannot_be_checked_is_the_persons(plain: Scene) -> None:
    plain.toolbox = Toolbox((Tool("weather", parameters={"$ref": "#/nowhere"}),), {}, plain.folder)
    with pytest.raises(ToolError, match="the parameters of the tool"):
        plain.run(calls(plain.version, PARIS))
    assert plain.conversation.messages == [Message("user", QUESTION)]


@pytest.mark.parametrize("template", [None, EMBEDDED, "v1"])
def test_a_template_without_tools_answers_in_text(tmp_path: Path, template: str | None) -> None:
    scene = Scene(tmp_path)
    scene.conversation = Conversation(template, embedded=lambda *_: [])
    scene.conversation.ask(QUESTION)
    outcome = scene.run(said("22", ("[TOOL_CALLS]",), "x"))
    assert outcome.answer.text == "22"
    assert scene.conversation.messages[1:] == [Message("assistant", "22", (7, 8))]


def test_the_template_may_be_known_only_with_the_first_answer(tmp_path: Path) -> None:
    scene = Scene(tmp_path, "v3")
    scene.conversation.template = None

    def generate(conversation: Conversation) -> Done:
        conversation.template = "v3"
        return calls("v3", ("byhand", {}))

    assert len(Rounds(scene.conversation, scene.toolbox, generate, lambda *_: True).run().calls) == 1


NINE = re.compile("[a-zA-Z0-9]{9}")


@pytest.mark.parametrize("version", ["v3", "v3-tekken", "v7", "v7-tekken", "v11"])
@pytest.mark.parametrize("ids", [["short", "call00002"], ["call00001", "call00001"], ["call00001", "call-0002"]])
def test_ids_that_a_template_refuses_are_replaced(tmp_path: Path, version: str, ids: list[str]) -> None:
    scene = Scene(tmp_path, version)
    scene.run(calls(version, PARIS, ROME, ids=ids, text="Wait."), said("22."))
    answer = scene.conversation.messages[1]
    assert answer.tokens is None  # the old ids are in them
    made = [call.id or "" for call in answer.calls]
    assert len(set(made)) == 2
    assert all(NINE.fullmatch(one) for one in made)
    assert {one for one in ids if NINE.fullmatch(one)} <= set(made)
    assert answer.text == ("Wait." if VERSIONS[version].rules.text_and_calls else "")
    scene.can_go_on()


@pytest.mark.parametrize("version", ["v3", "v7-tekken", "v11"])
def test_ids_that_are_missing_are_made(version: str) -> None:
    one, two = with_ids([Call("f", "{}"), Call("f", "{}", "abcdefgh9")], VERSIONS[version].rules)
    assert NINE.fullmatch(one.id or "")
    assert two.id == "abcdefgh9"


def test_where_ids_are_not_written_the_tokens_are_kept(tmp_path: Path) -> None:
    scene = Scene(tmp_path, "v13")
    scene.run(calls("v13", PARIS, ROME), said("22."))
    answer = scene.conversation.messages[1]
    assert answer.tokens == (7, 8)
    assert all(NINE.fullmatch(call.id or "") for call in answer.calls)
    assert with_ids([Call("f", "{}")], VERSIONS["v2"].rules) == (Call("f", "{}"),)


def test_what_no_command_runs_is_supplied(scene: Scene) -> None:
    supplied = iter(["sunny", None])
    by_hand = ("byhand", {})
    outcome = scene.run(
        calls(scene.version, by_hand), calls(scene.version, by_hand), said("So."), supply=lambda _: next(supplied)
    )
    assert outcome.calls == ()
    assert scene.results() == ["sunny", DECLINED]
    assert scene.asked == []
    scene.can_go_on()


def test_a_result_that_does_not_fit_is_told_to_the_model(scene: Scene) -> None:
    full = ContextError("the prompt is 9,000 tokens long")
    scene.run(calls(scene.version, PARIS), full, said("It is too long."))
    assert scene.results() == [TOO_LONG]
    scene.can_go_on()
    with pytest.raises(ContextError):  # when even that does not fit
        Scene(scene.folder, scene.version).run(calls(scene.version, PARIS), full, full)
    with pytest.raises(ContextError):  # nor is a question cut
        Scene(scene.folder, scene.version).run(full)
