"""A person who types: keys into the prompt, and what it gives back; the screen is nowhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fake_engine import FakeEngine
from prompt_toolkit.application import create_app_session
from prompt_toolkit.data_structures import Size
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import DummyOutput

from minichat.conversation import Conversation
from minichat.engine.types import Sampling
from minichat.terminal.chat import Chat
from minichat.terminal.line_editor import LineEditor

ENTER, ALT_ENTER, CTRL_C, CTRL_D, CTRL_J, CTRL_R = "\r", "\x1b\r", "\x03", "\x04", "\n", "\x12"
UP, DOWN, RIGHT, LEFT, ESCAPE, TAB = "\x1b[A", "\x1b[B", "\x1b[C", "\x1b[D", "\x1b", "\t"


def paste(text: str) -> str:
    return "\x1b[200~" + text.replace("\n", "\r") + "\x1b[201~"


def chat_of(engine: FakeEngine | None = None, **fields: Any) -> Chat:
    return Chat(
        engine=engine or FakeEngine(),  # type: ignore[arg-type]
        open_engine=lambda _: FakeEngine(),  # type: ignore[arg-type,return-value]
        conversation=Conversation("v7-tekken"),
        sampling=Sampling(),
        max_tokens=None,
        model_name="demo:q4_K_M",
        history_path=fields.pop("history_path", None),
        **fields,
    )


class Narrow(DummyOutput):
    def __init__(self, columns: int) -> None:
        self.columns = columns

    def get_size(self) -> Size:
        return Size(rows=24, columns=self.columns)


@contextmanager
def hand(columns: int = 80) -> Iterator[PipeInput]:
    with create_pipe_input() as pipe, create_app_session(input=pipe, output=Narrow(columns)):
        yield pipe


def typed(keys: str, chat: Chat | None = None, draft: str = "", columns: int = 80) -> str:
    """The message that comes of some keys, all there at once."""
    with hand(columns) as pipe:
        return step_by_step(LineEditor(chat or chat_of()), pipe, (keys, lambda: True), draft=draft)


def step_by_step(editor: LineEditor, pipe: PipeInput, *steps: tuple[str, Callable[[], object]], draft: str = "") -> str:
    """The message, where each keys are sent only once what came before them holds."""

    def send() -> None:
        for keys, holds in steps:
            deadline = time.monotonic() + 10
            while not holds() and time.monotonic() < deadline:
                time.sleep(0.01)
            pipe.send_text(keys)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        return editor.read(draft)
    finally:
        thread.join()


def write_script(path: Path, body: str) -> Path:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o700)
    return path
