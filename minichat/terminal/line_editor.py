"""The prompt where the terminal can move its cursor: an editor of a few lines, with a line about the chat below it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from prompt_toolkit import PromptSession
from prompt_toolkit.application import Application, get_app
from prompt_toolkit.enums import EditingMode
from prompt_toolkit.filters import Condition, is_searching
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.key_binding.vi_state import InputMode
from prompt_toolkit.styles import Attrs, Style

from minichat.terminal.attaching import Attaching
from minichat.terminal.completion import ChatCompleter, is_completed_while_typing
from minichat.terminal.cost import Meter
from minichat.terminal.display import Disarmed, LongLines, Tabs
from minichat.terminal.graphics import Asking, Graphics
from minichat.terminal.history import open_history
from minichat.terminal.keys import key_bindings
from minichat.terminal.output import write
from minichat.terminal.reviving import death_is_told, reason_to_end
from minichat.terminal.sanitize import clean_line
from minichat.terminal.suggestion import HistorySuggestion
from minichat.terminal.tall import as_sent, is_tall
from minichat.terminal.toolbar import cut, toolbar_text
from minichat.terminal.typeahead import Typeahead
from minichat.terminal.typed import message_of
from minichat.terminal.typed_ahead import are_waiting, signals_go_to, stop_if_asked, type_ahead

if TYPE_CHECKING:
    from minichat.terminal.chat import Chat
    from minichat.terminal.interrupt import Waiting

_PLACEHOLDER = "Send a message (/help for help)"
_MENU = 8  # rows, where there are as many
_ESCAPE_S = 0.05  # after which an Escape is a key, not the beginning of another
_MODES = {InputMode.NAVIGATION: "vi", InputMode.REPLACE: "vi replace", InputMode.REPLACE_SINGLE: "vi replace"}


class LineEditor:
    """Reads one message after the other."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat
        self._hint = self._tall = ""
        self._session: PromptSession[str] = PromptSession(
            message=">>> ",
            multiline=True,
            prompt_continuation=lambda width, line, is_wrapped: "    " if is_wrapped else "... ",  # noqa: ARG005
            placeholder=self._placeholder,
            history=open_history(chat.history_path),
            key_bindings=key_bindings(self._show_hint, chat.edit_no_more),
            enable_suspend=True,
            auto_suggest=HistorySuggestion(),
            completer=ChatCompleter(chat),
            complete_in_thread=True,
            complete_while_typing=Condition(self._may_open_menu),
            input_processors=[LongLines(), Disarmed(), Tabs()],
            bottom_toolbar=self._toolbar,
            style=_style(),
        )
        app = self._session.app
        self._escape_s = app.ttimeoutlen
        app.before_render += self._make_room
        app.before_render += self._clear_away
        self._attach = Attaching(chat)
        attach = self._attach
        self._meter = Meter(lambda: chat.engine, app.invalidate, Typeahead(chat, attach), attach, attach.give_up)
        self._asking = Asking()
        self._session.default_buffer.on_text_changed += lambda _: self._show_hint("")

    def read(self, draft: str = "", waiting: Waiting | None = None) -> str:
        """What was typed. EOFError on Ctrl-D, and when it turns out that the model cannot be loaded.

        draft: what stands there already, to be edited.
        A Ctrl-C behind the Enter is a SIGINT, and the caller's; `waiting` forgets one that came before the prompt.
        """
        self._hint = self._tall = ""
        self._give_back(self._asking.late())
        self._attach.begin()
        is_vi = self._chat.keys == "vi"
        self._session.editing_mode = EditingMode.VI if is_vi else EditingMode.EMACS
        self._session.app.ttimeoutlen = _ESCAPE_S if is_vi else self._escape_s
        app = self._session.app
        with self._meter, death_is_told(self._chat, app) as tell, signals_go_to(app):

            def begin() -> None:
                if waiting is not None:
                    waiting.forget()
                tell()

            try:
                text = self._session.prompt(default=draft, handle_sigint=False, pre_run=begin)
                self._meter.wants(text)  # keys that came together were not drawn one by one
            except EOFError:
                self._session.default_buffer.append_to_history()  # what stood there when the chat had to end
                raise
            finally:
                write(sys.stdout, self._tall)
        stop_if_asked(app.input)
        return message_of(text)

    def is_typed_ahead(self) -> bool:
        """Whether keys wait for the next prompt."""
        self._give_back(self._asking.late())
        return are_waiting(self._session.app.input)

    def graphics(self) -> Graphics | None:
        """How the terminal shows pictures. What is typed while it is asked is there for the next prompt."""
        graphics, typed = self._asking.graphics()
        self._give_back(typed)
        return graphics

    def _give_back(self, typed: bytes) -> None:
        if typed:
            type_ahead(self._session.app.input, typed)

    def _show_hint(self, hint: str) -> None:
        self._hint = hint

    def _may_open_menu(self) -> bool:
        document = self._session.default_buffer.document
        return is_completed_while_typing(document.text_before_cursor, document.current_line_before_cursor)

    def _make_room(self, app: Application[str]) -> None:
        """A menu has to fit onto the screen together with the text."""
        self._session.reserve_space_for_menu = max(min(_MENU, app.output.get_size().rows // 2), 0)

    def _clear_away(self, app: Application[str]) -> None:
        """What is not left as it was drawn: a text that was not all on the screen, and a prompt with nothing in it
        when the chat has to end.
        """
        text, size = self._session.default_buffer.text, app.output.get_size()
        is_shown_anew = app.is_done and is_tall(text, size.columns, size.rows)
        self._tall = as_sent(text, size.columns, size.rows) if is_shown_anew else ""
        app.erase_when_done = is_shown_anew or (not text and reason_to_end(self._chat) is not None)

    def _placeholder(self) -> StyleAndTextTuples:
        """Gone when the prompt is left: it is no part of the scrollback. A search shows what it finds in its place."""
        is_over = self._session.app.is_done or is_searching()
        return [] if is_over else [("class:placeholder", _PLACEHOLDER)]

    def _toolbar(self) -> StyleAndTextTuples:
        columns = self._session.app.output.get_size().columns - 1
        text = self._session.default_buffer.text
        self._meter.ask(text)
        if self._hint:
            return [("", cut(clean_line(self._hint), columns))]
        return [("", toolbar_text(self._chat, columns, self._meter.cost if text else None, self._mode()))]

    def _mode(self) -> str:
        app = get_app()
        if app.editing_mode != EditingMode.VI:
            return ""
        return _MODES.get(app.vi_state.input_mode, "vi insert")


def _style() -> Style:
    """What is no part of the message is grey; without colours it is dim, or in italics for a prompt_toolkit before it
    knew that.
    """
    grey = "fg:ansibrightblack"
    if os.environ.get("NO_COLOR"):
        grey = "dim" if "dim" in Attrs._fields else "italic"
    return Style.from_dict(
        {"bottom-toolbar": f"noreverse {grey}", "placeholder": grey, "auto-suggestion": grey, "elided": grey}
    )
