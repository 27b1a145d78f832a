"""Numbers as people read them."""

from __future__ import annotations

from datetime import datetime, timezone


def format_bytes(count: float) -> str:
    """Decimal units, as disks and downloads are sold: three digits at most before the unit.

    >>> format_bytes(999), format_bytes(4_950_000), format_bytes(14_334_000_000)
    ('999 B', '5.0 MB', '14.3 GB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 99.95 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def format_duration(duration_s: float) -> str:
    """
    >>> format_duration(0.4), format_duration(75), format_duration(3725)
    ('0:00', '1:15', '1:02:05')
    """
    minutes, seconds = divmod(int(duration_s + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def format_parameters(count: int) -> str:
    """
    >>> format_parameters(23_572_403_200), format_parameters(6_800_000)
    ('23.6B', '6.8M')
    """
    return f"{count / 1e9:.1f}B" if count >= 1e9 else f"{count / 1e6:.1f}M"


def format_ago(then: datetime | None, now: datetime | None = None) -> str:
    """How long ago something was, in its largest unit; "never" for None.

    >>> from datetime import timedelta
    >>> noon = datetime(2025, 3, 1, 12, tzinfo=timezone.utc)
    >>> [format_ago(noon, noon + timedelta(seconds=s)) for s in (3, 60, 7200, 86400, 3e6, 8e7)]
    ['just now', '1 minute ago', '2 hours ago', '1 day ago', '34 days ago', '2 years ago']
    """
    if then is None:
        return "never"
    past_s = ((now or datetime.now(timezone.utc)) - then).total_seconds()
    for unit, unit_s in (("year", 365 * 86400), ("day", 86400), ("hour", 3600), ("minute", 60)):
        if (count := int(past_s // unit_s)) > 0:
            return f"{count} {unit}{'s' * (count != 1)} ago"
    return "just now"
