"""Turns, and what of them is shown to the model."""

from minichat.conversation import Conversation
from minichat.template.messages import Call, Message
from minichat.template.pieces import Control, Text, Tokens


def long_talk() -> Conversation:
    talk = Conversation("v7-tekken", "Be brief.")
    for number in range(3):
        talk.ask(f"q{number}")
        talk.answer(f"a{number}", (1000 + number,))
    talk.ask("q3")
    return talk


def test_answers_are_shown_as_the_tokens_that_they_were() -> None:
    talk = Conversation("v7-tekken", "Be brief.")
    talk.ask("Hello")
    talk.answer("Hi!", (1500, 1501))
    talk.ask("And?")
    assert talk.pieces() == [
        Control("<s>"),
        *(Control("[SYSTEM_PROMPT]"), Text("Be brief."), Control("[/SYSTEM_PROMPT]")),
        *(Control("[INST]"), Text("Hello"), Control("[/INST]"), Tokens((1500, 1501)), Control("</s>")),
        *(Control("[INST]"), Text("And?"), Control("[/INST]")),
    ]


def test_turns_are_questions_with_their_answers() -> None:
    talk = long_talk()
    turns = [(turn.number, turn.start, turn.end) for turn in talk.turns()]
    assert turns == [(1, 0, 2), (2, 2, 4), (3, 4, 6), (4, 6, 7)]
    assert Conversation("v7-tekken").turns() == []


def test_turns_go_whole_and_the_system_prompt_stays() -> None:
    talk = long_talk()
    talk.drop(1, 2)
    talk.drop(2, 2)
    assert [message.content for message in talk.messages] == ["q2", "a2"]
    assert talk.system == "Be brief."


def test_an_answer_without_calls_can_be_gone_on_with() -> None:
    talk = long_talk()
    assert talk.open_answer() is None
    talk.answer("a3", None)
    assert talk.open_answer() == Message("assistant", "a3")
    talk.messages[-1] = Message("assistant", "", calls=(Call("look", "{}"),))
    assert talk.open_answer() is None


def test_clear_keeps_the_system_prompt() -> None:
    talk = long_talk()
    talk.clear()
    talk.ask("x")
    assert Text("Be brief.") in talk.pieces()
    assert len(talk.messages) == 1


def test_a_base_model_continues_text() -> None:
    talk = Conversation(None)
    talk.ask("Once upon")
    talk.answer(" a time", (7, 8))
    talk.ask(" there")
    said = [Text("Once upon"), Tokens((7, 8)), Text(" there")]
    assert talk.pieces() == [Control("<s>"), *said]
    talk.bos = "<|endoftext|>"
    assert talk.pieces() == [Control("<|endoftext|>"), *said]
    talk.bos = None
    assert talk.pieces() == said
