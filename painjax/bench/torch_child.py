"""The PyTorch side, as this process sees it: a child that answers one JSON line for each JSON line."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from painjax.errors import UserError

NEEDED = ("torch", "transformers", "peft")


class TorchChild:
    """Runs `painjax.bench.torch_side` while the context lasts; it waits without spinning, and dies with its parent.

    Raises:
      UserError: if PyTorch, transformers or peft is missing, or the child ends early; with its last words.
    """

    def __init__(self, module: str = "painjax.bench.torch_side"):
        missing = [name for name in NEEDED if find_spec(name) is None]
        if missing:
            raise UserError(
                f"The benchmark compares with PyTorch, and {', '.join(missing)} is not installed: "
                "pip install 'painjax[bench]'."
            )
        self._errors = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            bufsize=0,
        )

    def __enter__(self) -> "TorchChild":
        return self

    def __exit__(self, *_) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._errors):
            pipe.close()

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The child's answer to one request, when it comes."""
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
        except BrokenPipeError:
            raise self._ended() from None
        line = self._process.stdout.readline()
        if not line:
            raise self._ended()
        return json.loads(line)

    def _ended(self) -> UserError:
        status = self._process.wait()
        self._errors.seek(0)
        said = [line.strip() for line in self._errors.read().decode(errors="replace").splitlines() if line.strip()]
        return UserError(
            f"The PyTorch side of the benchmark ended with status {status}: {said[-1] if said else 'it said nothing'}. "
            "Check that torch, transformers and peft fit together and that the memory suffices for both sides, or take "
            "a smaller size or batch."
        )
