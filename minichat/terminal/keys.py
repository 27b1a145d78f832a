"""The keys of the prompt that are minichat's own; the rest are prompt_toolkit's for emacs or vi."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from prompt_toolkit.application import run_in_terminal
from prompt_toolkit.completion import CompleteEvent, get_common_complete_suffix
from prompt_toolkit.document import Document
from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import Filter, emacs_mode, has_focus, is_searching
from prompt_toolkit.input.ansi_escape_sequences import ANSI_SEQUENCES
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.search import stop_search

from minichat.editor import edit
from minichat.terminal.completion import is_completed_while_typing
from minichat.terminal.history import TypedHistory
from minichat.terminal.pasting import attaching
from minichat.terminal.rows import move
from minichat.terminal.typed import is_open
from quant.errors import MinichatError

if TYPE_CHECKING:
    from prompt_toolkit.buffer import Buffer

PREFIX = 4  # cells before each row of the text
_NEW_LINE = Keys.ControlF24  # which no keyboard has
# What terminals send for Alt-Enter, Shift-Enter and Ctrl-Enter. As keys of their own: in vi mode, Escape and then Enter
# are two.
_ENTERS = ("\x1b\r", "\x1b[13;2u", "\x1b[13;3u", "\x1b[13;5u", "\x1b[27;2;13~", "\x1b[27;3;13~", "\x1b[27;5;13~")
_LONGEST_WRAPPED = 20_000  # characters of a text whose rows are found at each arrow key
_TAB = 4


def key_bindings(hint: Callable[[str], None], cleared: Callable[[], None]) -> KeyBindings:
    """hint: shows a remark in the line below the prompt. cleared: called when the person clears what stands there."""
    ANSI_SEQUENCES.update(dict.fromkeys(_ENTERS, _NEW_LINE))
    keys = KeyBindings()
    is_typing = has_focus(DEFAULT_BUFFER)
    _add_enter(keys, is_typing)
    _add_arrows(keys, is_typing)
    _add_tab(keys, is_typing)
    _add_paste(keys, is_typing, hint)

    @keys.add("c-c", filter=is_typing)
    @keys.add("<sigint>")
    def _(event: KeyPressEvent) -> None:
        if is_searching():
            stop_search()
            return
        buffer = event.current_buffer
        if not buffer.text:
            hint("Ctrl-D or /bye leaves")
            return
        if isinstance(buffer.history, TypedHistory):
            buffer.history.remember(buffer.text)
        buffer.reset()
        event.app.vi_state.reset()  # a new message begins in insert mode
        cleared()

    @keys.add("c-x", "c-e", filter=is_typing)
    def _(event: KeyPressEvent) -> None:
        async def edit_message() -> None:
            buffer = event.current_buffer
            try:
                text = await run_in_terminal(lambda: edit(buffer.text), in_executor=True)
            except MinichatError as error:
                hint(str(error))
            else:
                buffer.document = Document(text, len(text))

        event.app.create_background_task(edit_message())

    return keys


def _add_enter(keys: KeyBindings, is_typing: Filter) -> None:
    @keys.add("enter", filter=is_typing)
    def _(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        state = buffer.complete_state
        if state is not None and state.current_completion is not None and len(state.completions) > 1:
            buffer.complete_state = None  # chosen in the menu: it stays, and is looked at before it is sent
        elif is_open(buffer.text):
            buffer.newline(copy_margin=False)
        else:
            buffer.validate_and_handle()

    @keys.add(_NEW_LINE, filter=is_typing)
    @keys.add("escape", "enter", filter=is_typing & emacs_mode)
    @keys.add("c-j", filter=is_typing)
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.newline(copy_margin=False)


def _add_paste(keys: KeyBindings, is_typing: Filter, hint: Callable[[str], None]) -> None:
    @keys.add(Keys.BracketedPaste, filter=is_typing)
    def _(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        text = event.data.replace("\r\n", "\n").replace("\r", "\n")
        attached = attaching(text, buffer.document.text_before_cursor)
        buffer.insert_text(text)
        if attached is not None:
            buffer.save_to_undo_stack()
            buffer.delete_before_cursor(len(text))
            buffer.insert_text(attached)
            hint("attached; Ctrl-_ makes it the path again")


def _add_arrows(keys: KeyBindings, is_typing: Filter) -> None:
    aim: tuple[str, int, int] | None = None  # text and cursor after the last move, and the cell it aimed at

    def go(event: KeyPressEvent, rows: int) -> None:
        nonlocal aim
        buffer = event.current_buffer
        if buffer.complete_state is not None or buffer.selection_state is not None or event.arg != 1:
            _leave_to_buffer(buffer, rows, event.arg)
            return
        columns = event.app.output.get_size().columns - PREFIX
        text, cursor = buffer.text, buffer.cursor_position
        cell = aim[2] if aim is not None and aim[:2] == (text, cursor) else None
        moved = move(text, cursor, columns, rows, cell) if len(text) <= _LONGEST_WRAPPED else None
        if moved is None:
            _leave_to_buffer(buffer, rows, 1)
        else:
            buffer.cursor_position, aim = moved[0], (text, *moved)

    @keys.add("up", filter=is_typing)
    def _(event: KeyPressEvent) -> None:
        go(event, -1)

    @keys.add("down", filter=is_typing)
    def _(event: KeyPressEvent) -> None:
        go(event, 1)


def _leave_to_buffer(buffer: Buffer, rows: int, count: int) -> None:
    if rows < 0:
        buffer.auto_up(count)
    else:
        buffer.auto_down(count)


def _add_tab(keys: KeyBindings, is_typing: Filter) -> None:
    @keys.add("tab", filter=is_typing)
    def _(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        state = buffer.complete_state
        if state is not None and state.current_completion is not None:
            buffer.complete_next()  # on through the menu
            return
        document = buffer.document
        if not is_completed_while_typing(document.text_before_cursor, document.current_line_before_cursor):
            buffer.insert_text(" " * (_TAB - document.cursor_position_col % _TAB))
            return
        found = list(buffer.completer.get_completions(document, CompleteEvent(completion_requested=True)))
        if len(found) == 1:
            buffer.apply_completion(found[0])  # at once: the menu may not be there yet
        elif common := get_common_complete_suffix(document, found):
            buffer.insert_text(common)
        elif state is not None:
            buffer.complete_next()
        else:
            buffer.start_completion(select_first=True)
