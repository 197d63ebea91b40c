"""Large memory pages: asked for once, where the kernel gives them on request, and never against the user's word."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from painjax import large_pages

ROOT = Path(__file__).resolve().parents[1]
REQUEST = "glibc.malloc.hugetlb=1"


@pytest.mark.parametrize(
    ("kernel", "given", "expected"),
    [
        ("always [madvise] never", None, REQUEST),
        ("always [madvise] never", "glibc.malloc.check=1", f"glibc.malloc.check=1:{REQUEST}"),
        ("always [madvise] never", "glibc.malloc.hugetlb=0", None),
        ("[always] madvise never", None, None),
        ("always madvise [never]", None, None),
        (None, None, None),
    ],
)
def test_asked_for_where_the_kernel_waits_to_be_asked(tmp_path, kernel, given, expected):
    file = tmp_path / "enabled"
    if kernel is not None:
        file.write_text(kernel)
    current = {"HOME": "/h"} | ({} if given is None else {"GLIBC_TUNABLES": given})
    found = large_pages.environment(current, file)
    assert found == (None if expected is None else {"HOME": "/h", "GLIBC_TUNABLES": expected})


@pytest.mark.parametrize("refused", ["read_text", "execve"])
def test_what_the_system_refuses_is_done_without(monkeypatch, tmp_path, refused):
    (tmp_path / "enabled").write_text("always [madvise] never")
    monkeypatch.setattr(large_pages, "KERNEL", tmp_path / "enabled")
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    if refused == "read_text":
        (tmp_path / "enabled").unlink()
        (tmp_path / "enabled").symlink_to("/proc/self/mem")  # a file that cannot be read from its beginning
        assert (tmp_path / "enabled").is_file()
    else:
        monkeypatch.setattr(sys, "executable", str(tmp_path))
    large_pages.ask()


@pytest.mark.skipif(
    not large_pages.KERNEL.is_file() or "[madvise]" not in large_pages.KERNEL.read_text(),
    reason="this kernel gives large pages always or never",
)
def test_the_command_starts_itself_anew_with_its_arguments_and_its_process(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\nprint(os.getpid(), os.environ.get('GLIBC_TUNABLES'), sys.orig_argv[1:], file=sys.stderr)\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "GLIBC_TUNABLES"}
    environment["PYTHONPATH"] = f"{tmp_path}:{ROOT}"
    command = [sys.executable, "-m", "painjax", "no_such_command"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    before, after, *message = done.stderr.splitlines()
    process, tunables, arguments = before.split(maxsplit=2)
    assert (tunables, arguments) == ("None", str(command[1:]))
    assert after == f"{process} {REQUEST} {arguments}"
    assert done.returncode == 2 and "no_such_command" in " ".join(message)
