"""Formats of strings (RFC 3339, 4122, 2673) as regular expressions, where those say exactly what is meant."""

from __future__ import annotations

_YEAR = r"(?:\d{3}[1-9]|\d{2}[1-9]\d|\d[1-9]\d{2}|[1-9]\d{3})"  # 0000 is no year to most programs
_LEAP_YEAR = r"(?:\d{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)"
_DATE = (
    rf"(?:{_YEAR}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\d|30)"
    rf"|02-(?:0[1-9]|1\d|2[0-8]))|{_LEAP_YEAR}-02-29)"
)
_HOURS_MINUTES = r"(?:[01]\d|2[0-3]):[0-5]\d"
_TIME = rf"{_HOURS_MINUTES}:[0-5]\d(?:\.\d{{1,9}})?(?:Z|[+-]{_HOURS_MINUTES})"  # no leap second: few programs know it
_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d{2}|[1-9]?\d)"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,20}[A-Za-z0-9])?"

CHECKED = {
    "date": rf"^{_DATE}$",
    "time": rf"^{_TIME}$",
    "date-time": rf"^{_DATE}T{_TIME}$",
    "uuid": r"^[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$",
    "ipv4": rf"^{_OCTET}(?:\.{_OCTET}){{3}}$",
}
"""All that the format allows, but for years of four noughts, leap seconds and split nanoseconds."""

WRITTEN = {
    **CHECKED,
    # Of all addresses that RFC 5321 allows, those that people have.
    "email": rf"^[A-Za-z0-9_%+-]{{1,30}}(?:\.[A-Za-z0-9_%+-]{{1,30}})?@(?:{_LABEL}\.){{1,3}}[A-Za-z]{{2,10}}$",
}
"""What an answer is held to."""
