"""/save, /load, /export, /sessions, /search."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from minichat.terminal.commands.command import Command
from minichat.terminal.output import say
from quant.errors import UsageError

if TYPE_CHECKING:
    from minichat.session_search import Found
    from minichat.terminal.chat import Chat

_MOST_LISTED = 20
_MOST_FOUND = 30
_PRIVATE = "this chat is private, and nothing of it is kept: /export FILE.md or FILE.json writes it where you want"


def _save(chat: Chat, argument: str) -> bool:
    """Every turn is kept as it ends: to save is to give a name."""
    if chat.session is None:
        raise UsageError(_PRIVATE)
    if argument:
        chat.sessions.rename(chat.session, argument)
    when = "from its first message on" if not chat.session.is_on_disk else "every turn as it ends"
    how = "" if argument else "; /save NAME names it"
    say(f"kept as {chat.session.name}, {when}{how}", "dim")
    return False


def _load(chat: Chat, argument: str) -> bool:
    from minichat.terminal.resuming import resume

    if not argument:
        raise UsageError("/load NAME goes on with a session: /sessions lists them")
    if chat.session is None:
        resume(chat, chat.sessions.read(argument))
        return False
    if chat.sessions.find(argument) == chat.session.name and chat.session.is_on_disk:
        say(f"{chat.session.name} is this conversation", "dim")
        return False
    chat.save()
    session, saved = chat.sessions.open(argument)
    chat.keep_warm()
    chat.session.close()
    chat.session = session
    resume(chat, saved)
    return False


def _export(chat: Chat, argument: str) -> bool:
    from minichat.export import check_file, write_file
    from minichat.session_file import title_of
    from minichat.terminal.ask import says_yes

    conversation = chat.conversation
    if not argument:
        raise UsageError("/export FILE.md writes the conversation as Markdown, /export FILE.json as OpenAI's messages")
    if not conversation.messages:
        raise UsageError("nothing has been said yet that could be exported")
    path = _path(argument)
    check_file(path)
    if path.exists() and not says_yes(f"{path} exists: write over it?"):
        say("nothing was written", "dim")
        return False
    picture = chat.sight.album().content if chat.sight is not None else None
    write_file(path, conversation.messages, conversation.system, title_of("", conversation.messages), picture)
    say(f"wrote {path}", "dim")
    return False


def _sessions(chat: Chat, argument: str) -> bool:  # noqa: ARG001
    from minichat.session_reports import show_sessions

    current = chat.session.name if chat.session is not None else None
    show_sessions(chat.sessions.list(), current=current, most=_MOST_LISTED)
    return False


def _search(chat: Chat, argument: str) -> bool:
    from minichat.session_reports import show_found

    if not argument:
        raise UsageError("/search TEXT looks for a text in all sessions")
    show_found(_found(chat, argument), argument, most=_MOST_FOUND)
    return False


def _found(chat: Chat, text: str) -> Iterator[Found]:
    """This conversation first, as it is now, then the others."""
    from minichat.session_search import find_text, text_pattern

    here = chat.session.name if chat.session is not None else "(this chat)"
    yield from find_text(here, chat.conversation.messages, text_pattern(text))
    for found in chat.sessions.search(text):
        if found.name != here:
            yield found


def _names(chat: Chat, argument: str) -> Iterable[str]:
    """The other sessions in whose name the argument is, those that begin with it first."""
    open_here = chat.session.name if chat.session is not None else None
    typed = argument.casefold()
    names = [name for name in chat.sessions.names() if typed in name.casefold() and name != open_here]
    return sorted(names, key=lambda name: not name.casefold().startswith(typed))


def _path(argument: str) -> Path:
    """The file that is meant: with ~, and perhaps in quotes, as in a shell."""
    if len(argument) > 1 and argument[0] == argument[-1] and argument[0] in "\"'":
        argument = argument[1:-1]
    try:
        return Path(argument).expanduser()
    except RuntimeError:  # the home of nobody
        return Path(argument)


COMMANDS: tuple[Command, ...] = (
    Command("save", "[NAME]", "name this conversation; it is kept in any case", _save),
    Command("load", "NAME", "go on with another one", _load, _names),
    Command("sessions", "", "the conversations that are kept", _sessions),
    Command("search", "TEXT", "look for a text in all of them", _search),
    Command("export", "FILE", "write this one as FILE.md or FILE.json", _export),
)
