"""What the chat does when its engine has died: one line, the conversation as it was, and once, the engine again.

It starts again by itself after one death. If it dies again before there was an answer, starting it would most likely
kill it a third time; then /reload does, when the person wants it. A model that cannot be loaded ends the chat, for the
next try would come to the same; but not one that had been loaded: its file may come back, and there is /model.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from minichat.terminal.output import print_error, say
from quant.errors import EngineDiedError, EngineError, MinichatError

if TYPE_CHECKING:
    from prompt_toolkit.application import Application

    from minichat.terminal.chat import Chat


def revive(chat: Chat, death: EngineDiedError) -> None:
    """Tells of a death, and starts the engine again if it may. The error of a start that fails is the line then."""
    chat.deaths += 1
    if chat.stats is None:
        chat.forget_warm()  # there was no answer yet: what was read from there may have been deadly
    if chat.deaths > 1:
        print_error(f"{death.what}; it had just been started again: /reload tries once more", sys.stdout)
        if chat.draft:  # the command has to stand alone on its line
            chat.draft, chat.editing = "", None
            say("(Up brings the message back)", "dim")
        return
    try:
        chat.restart()
    except MinichatError as error:
        print_error(f"{death.what}, and {error}", sys.stdout)
    else:
        print_error(f"{death.what}; it starts again, and the conversation is still there", sys.stdout)


def revive_if_dead(chat: Chat) -> None:
    """`revive` for a death that nobody has told of yet, because nothing was asked of the engine since.

    Raises it if the engine is not to be started again.
    """
    try:
        chat.engine.check_alive()
    except EngineDiedError as death:
        if chat.deaths:
            raise
        revive(chat, death)


def reason_to_end(chat: Chat) -> MinichatError | None:
    """Why the chat's first model cannot be loaded, as far as that is known by now. Never waits."""
    failure = chat.engine.failure
    return None if chat.info is not None or chat.was_loaded or isinstance(failure, EngineError) else failure


@contextmanager
def death_is_told(chat: Chat, app: Application[Any]) -> Iterator[Callable[[], None]]:
    """Inside, while `app` has the screen, a death is told above the prompt at once, and the engine starts again.

    If the model cannot be loaded, `app` ends with EOFError. Yields what looks for both, for the start of `app`.
    """

    def tell() -> None:
        from prompt_toolkit.application import run_in_terminal
        from prompt_toolkit.application.current import set_app

        if not app.is_running or app.is_done:
            return
        if reason_to_end(chat) is not None:
            app.exit(exception=EOFError())
        elif chat.engine.has_died() and not chat.deaths:
            with set_app(app):
                run_in_terminal(start_again)

    def start_again() -> None:
        revive_if_dead(chat)
        chat.engine.on_end = ended

    def ended() -> None:  # in the engine's thread
        loop = app.loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(tell)

    if chat.engine.has_died() and not chat.deaths:
        revive_if_dead(chat)
    chat.engine.on_end = ended
    try:
        yield ended
    finally:
        chat.engine.on_end = None
