from __future__ import annotations

import doctest
import sys
from pathlib import Path

import pytest

from minichat import machine

GIB = 1 << 30
NONE = 0x7FFFFFFFFFFFF000  # what version 1 says where nothing bounds a group


def fake(root: Path, files: dict[str, str]) -> Path:
    for name, text in {"proc/meminfo": f"MemTotal: {32 << 20} kB\nMemAvailable: {16 << 20} kB\n", **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_this_machine_has_some_memory() -> None:
    free = machine.available_bytes()
    assert free is not None
    assert 1 << 20 < free < 1 << 50


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_linux_says_no_more_than_the_kernel_does() -> None:
    free = machine.available_bytes()
    lines = Path("/proc/meminfo").read_text().splitlines()
    total = next(int(line.split()[1]) for line in lines if line.startswith("MemTotal:"))
    assert free is not None
    assert free <= total * 1024


def test_without_groups_the_kernel_tells(tmp_path: Path) -> None:
    assert machine._linux(fake(tmp_path, {})) == 16 * GIB


@pytest.mark.parametrize(
    ("files", "free"),
    [
        (  # version 2, seen from inside a container
            {
                "proc/self/cgroup": "0::/\n",
                "sys/fs/cgroup/memory.max": f"{8 * GIB}\n",
                "sys/fs/cgroup/memory.current": f"{5 * GIB}\n",
                "sys/fs/cgroup/memory.stat": f"anon 1\ninactive_file {2 * GIB}\n",
            },
            5 * GIB,
        ),
        (  # a group above is the tighter one
            {
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/b/memory.max": "max\n",
                "sys/fs/cgroup/a/b/memory.current": "5\n",
                "sys/fs/cgroup/a/memory.max": f"{4 * GIB}\n",
                "sys/fs/cgroup/a/memory.current": f"{GIB}\n",
            },
            3 * GIB,
        ),
        (  # a path of the machine outside, which the container cannot see
            {
                "proc/self/cgroup": "0::/../outside\n",
                "sys/fs/cgroup/memory.max": f"{2 * GIB}\n",
                "sys/fs/cgroup/memory.current": f"{3 * GIB}\n",
            },
            0,
        ),
        (  # version 1
            {
                "proc/self/cgroup": "5:cpu,cpuacct:/x\n4:memory:/job\n0::/\n",
                "sys/fs/cgroup/memory/job/memory.limit_in_bytes": f"{6 * GIB}\n",
                "sys/fs/cgroup/memory/job/memory.usage_in_bytes": f"{2 * GIB}\n",
                "sys/fs/cgroup/memory/job/memory.stat": f"cache 7\ntotal_inactive_file {GIB}\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{NONE}\n",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{9 * GIB}\n",
            },
            5 * GIB,
        ),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n"}, 16 * GIB),
        ({"proc/self/cgroup": "\n:\n0:\nx\n", "sys/fs/cgroup/memory.max": "-1\n"}, 16 * GIB),
    ],
)
def test_a_control_group_may_allow_less(tmp_path: Path, files: dict[str, str], free: int) -> None:
    assert machine._linux(fake(tmp_path, files)) == free


def test_what_cannot_be_told_is_none(tmp_path: Path) -> None:
    assert machine._linux(tmp_path) is None
    assert machine._linux(fake(tmp_path, {"proc/meminfo": "MemAvailable:\nMemAvailable: x kB\n"})) is None


def test_examples() -> None:
    assert doctest.testmod(machine).failed == 0
