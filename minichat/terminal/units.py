"""Numbers as people read them."""

from __future__ import annotations


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
