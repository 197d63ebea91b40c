"""The child that runs PyTorch: missing extras, errors, and that it never outlives its parent."""

import os
import signal
import subprocess
import sys
import time

import pytest

from painjax.bench import torch_child
from painjax.bench.case import Case
from painjax.bench.torch_child import TorchChild
from painjax.errors import UserError

TINY = Case(size="tiny", image_size=32, batch_size=1).for_torch()


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def test_missing_packages_are_named_with_the_command_that_brings_them(monkeypatch):
    monkeypatch.setattr(torch_child, "find_spec", lambda name: None if name in ("torch", "peft") else object())
    with pytest.raises(UserError, match=r"torch, peft is not installed: pip install 'painjax\[bench\]'"):
        TorchChild()


def test_it_answers_each_request_and_its_error_arrives_as_ours():
    with TorchChild() as child:
        assert child.ask({"do": "build", "case": TINY})["threads"] == 1
        assert child.ask({"do": "gemm", "rows": 8, "inputs": 8, "outputs": 8})["gflops"] > 0
        with pytest.raises(UserError, match="ended with status 1: AssertionError: embed_dim must be divisible"):
            child.ask({"do": "build", "case": TINY | {"width": 30}})
        with pytest.raises(UserError, match="ended with status 1"):
            child.ask({"do": "gemm", "rows": 8, "inputs": 8, "outputs": 8})


def test_a_child_that_cannot_start_says_why():
    with TorchChild("painjax.bench.no_such_side") as child, pytest.raises(UserError, match="no_such_side"):
        child.ask({"do": "build"})


def test_the_child_ends_with_its_parent_even_while_it_computes():
    code = (
        "import json, os, sys\n"
        "from painjax.bench.torch_child import TorchChild\n"
        f"child = TorchChild(); child.ask({{'do': 'build', 'case': {TINY}}})\n"
        "print(child._process.pid, flush=True)\n"
        "child.ask({'do': 'infer', 'seconds': 600})\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    with parent.stdout:
        pid = int(parent.stdout.readline())
    assert alive(pid)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    deadline = time.monotonic() + 20
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(pid)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as stat:  # a dead child that nobody waits for is still listed
        return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
