"""/save, /load, /export, /sessions, /search."""

from __future__ import annotations

from minichat.terminal.commands.command import Command

COMMANDS: tuple[Command, ...] = ()
