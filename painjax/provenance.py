"""What a training run was made with: the code, the data and the machine, noted down at every start.

`W/starts.jsonl` holds an object for each start of the run in W, and every checkpoint the last of them.
"""

import datetime
import functools
import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

import painjax
from painjax.checkpoint import saved_steps, weights_sha256
from painjax.config import flat
from painjax.data.precomputed import read_manifest
from painjax.data.records import dataset_version
from painjax.files import write_atomically
from painjax.pretrained import Pretrained

_STARTS = "starts.jsonl"
# Where things lie may differ from host to host; what lies there is compared by its hash.
_PLACES = ("data.data_dir", "pretrained", "teacher", "teacher_outputs")


def describe(config: ConfigDict, weights: Pretrained | None = None, teacher_step: int | None = None) -> dict[str, Any]:
    """What a checkpoint says of its origin: `painjax` and `jax` (versions), `source_sha256` of the package's own files,
    `git` {revision, dirty} of the checkout that it runs from (None: none, as for an installed wheel), `data_set` {name,
    version, fingerprint}, `teacher_step` and `teacher_sha256`, `teacher_outputs` (the dtype of what it has said before;
    None: it runs in the step), and `pretrained` {from, weights_sha256}.

    Raises:
      UserError: if the data set is not built.
    """
    return {
        "painjax": painjax.__version__,
        "jax": jax.__version__,
        "source_sha256": source_sha256(),
        "git": git_revision(Path(painjax.__file__).resolve().parents[1]),
        "data_set": dataset_version(config.data.name, config.data.data_dir),
        "teacher_step": teacher_step,
        "teacher_sha256": None if teacher_step is None else _teacher_sha256(config, teacher_step),
        "teacher_outputs": read_manifest(config.teacher_outputs).dtype if config.get("teacher_outputs") else None,
        "pretrained": None if weights is None else weights.reference(),
    }


def _teacher_sha256(config: ConfigDict, step: int) -> str:
    if config.get("teacher_outputs"):
        return read_manifest(config.teacher_outputs).teacher_sha256
    return weights_sha256(config.teacher, step)


def facts(config: ConfigDict, origin: dict[str, Any], workdir: Path) -> dict[str, Any]:
    """What all processes of a job must have in common, for `check_agreement`."""
    settings = flat(ConfigDict(json.loads(config.to_json())))
    common = {f"config.{name}": value for name, value in settings.items() if name not in _PLACES}
    same = ("painjax", "jax", "source_sha256", "data_set", "teacher_sha256", "teacher_outputs")
    common |= {name: origin[name] for name in same}
    common["pretrained"] = origin["pretrained"] and origin["pretrained"]["weights_sha256"]
    common["checkpoints"] = saved_steps(workdir)  # of one folder that all see, not of as many as there are hosts
    return common


@functools.cache
def source_sha256() -> str:
    """SHA-256 over the names and contents of the package's own Python files."""
    package = Path(painjax.__file__).resolve().parent
    whole = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        content = path.read_bytes()
        whole.update(f"{path.relative_to(package).as_posix()} {len(content)}\n".encode() + content)
    return whole.hexdigest()


def git_revision(folder: Path) -> dict[str, Any] | None:
    """The commit of the checkout in `folder`, and whether files that git knows differ from it; None if it is none."""

    def git(*arguments: str) -> str | None:
        environment = os.environ | {"GIT_OPTIONAL_LOCKS": "0"}
        try:
            done = subprocess.run(
                ["git", "-C", str(folder), *arguments], capture_output=True, text=True, env=environment
            )  # fmt: skip
        except OSError:
            return None  # there is no git
        return done.stdout if done.returncode == 0 else None

    # A wheel may be installed somewhere inside another project's checkout, whose revision says nothing about us.
    if git("ls-files", "--error-unmatch", "painjax/__init__.py") is None:
        return None
    revision, changed = git("rev-parse", "HEAD"), git("status", "--porcelain", "--untracked-files=no")
    if revision is None or changed is None:
        return None
    return {"revision": revision.strip(), "dirty": bool(changed)}


def note_start(workdir: Path, step: int, origin: dict[str, Any], changes: dict[str, str]) -> None:
    """Adds this start of the run to `starts.jsonl`: its origin, `step` that it goes on from, `time` (UTC; steps, not
    times, tell the order), `processes`, `devices`, and `changes`, what was changed and accepted."""
    if jax.process_index() != 0:
        return
    start = {
        "step": step,
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "processes": jax.process_count(),
        "devices": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
        **origin,
        "changes": changes,
    }
    path = workdir / _STARTS
    before = path.read_text() if path.exists() else ""
    write_atomically(path, before + json.dumps(start) + "\n")


def last_start(workdir: str | os.PathLike) -> dict[str, Any] | None:
    """The last start of the run in `workdir`; None for a model folder, or a run of an earlier version."""
    path = Path(workdir) / _STARTS
    if not path.exists():
        return None
    return json.loads(path.read_text().splitlines()[-1])
