"""Memory in pages of 2 MiB, for computing on a CPU.

XLA takes the memory of every step anew, and the kernel hands it out page by page: with pages of 4 KiB, that is an
eighth of a ViT-S training step.
"""

import contextlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path

VARIABLE, WANTED = "GLIBC_TUNABLES", "glibc.malloc.hugetlb"
KERNEL = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def ask() -> None:
    """Starts this process anew, in its place, with glibc told to ask the kernel for large pages: glibc reads that only
    when a program starts. Does nothing where the kernel gives them anyway or never, where the user has said what glibc
    does (`GLIBC_TUNABLES=glibc.malloc.hugetlb=0`), or where the system does not let it."""
    with contextlib.suppress(OSError):
        changed = environment(os.environ, KERNEL)
        if changed is not None and sys.executable:
            os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], changed)


def environment(current: Mapping[str, str], kernel: Path) -> dict[str, str] | None:
    """`current` with the request in it; None where there is nothing to ask for. `kernel` is Linux's file that says
    which of always, madvise and never is [chosen]."""
    given = current.get(VARIABLE, "")
    if WANTED in given or not kernel.is_file() or "[madvise]" not in kernel.read_text():
        return None
    return {**current, VARIABLE: ":".join(filter(None, (given, f"{WANTED}=1")))}
