"""Where weights are: a file or folder on disk, or a repository on the hub, and what stands beside them."""

import dataclasses
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from painjax.errors import UserError
from painjax.model_folder import has_weights
from painjax.models.presets import PRESETS, find_preset
from painjax.weights import hub
from painjax.weights.torch_file import SUFFIXES

INDEX = ".safetensors.index.json"
_READABLE = (".safetensors", INDEX, *SUFFIXES)
_SHARD = re.compile(r"-\d{5}-of-\d{5}\.")
_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


@dataclasses.dataclass(frozen=True)
class Source:
    """Weights found: `name` for people, `file` (weights, or the index of `shards`), what stands beside it, and the
    commit that it is from, '' for local files."""

    name: str
    file: Path
    shards: tuple[Path, ...]
    config: dict[str, Any]
    preprocessor: dict[str, Any]
    revision: str

    @property
    def weights(self) -> tuple[Path, ...]:
        """The files that hold tensors."""
        return self.shards or (self.file,)


def find(source: str, *, revision: str | None = None, file: str | None = None, offline: bool = False) -> Source:
    """Finds weights, downloading what is not there.

    Args:
      source: a file, a folder, the id of a repository on the hub ('facebook/dinov2-small'), the name of a timm model
        ('vit_small_patch16_dinov3.lvd1689m') or of a preset ('dinov2_s').
      revision: branch, tag or commit of the repository.
      file: which file of the folder or repository.
      offline: use only what has been downloaded before.

    Raises:
      UserError: if there are no weights, or several.
    """
    path = Path(source).expanduser()
    if path.exists():
        if revision is not None:
            raise UserError(f"--revision={revision} is for repositories on the hub, but {source} is a local path.")
        return _local(path, file)
    repository = _repository(source)
    snapshot = hub.Snapshot.open(repository, revision, offline)
    chosen = choose(snapshot.names, file, f"The repository {repository}")
    return _read(repository, chosen, snapshot.names, snapshot.fetch, snapshot.commit)


def choose(names: Sequence[str], file: str | None, where: str) -> str:
    """The one file of weights among `names`.

    Raises:
      UserError: if there is none, or several; it lists what is there.
    """
    if file is not None:
        if file not in names:
            raise UserError(f"{where} has no file {file!r}. It has: {', '.join(sorted(names)) or 'nothing'}.")
        _check_readable(file)
        return file
    readable = [name for name in names if name.endswith(_READABLE) and not _SHARD.search(name)]
    readable = [name for name in readable if "/" not in name] or readable
    for usual in ("model.safetensors", f"model{INDEX}"):
        if usual in readable:
            return usual
    for suffixes in ((".safetensors", INDEX), SUFFIXES):
        found = sorted(name for name in readable if name.endswith(suffixes))
        if len(found) == 1:
            return found[0]
        if found:
            more = f" and {len(found) - 10} more" if len(found) > 10 else ""
            raise UserError(
                f"{where} has several files of weights: {', '.join(found[:10])}{more}. Choose one with --file=NAME."
            )
    raise UserError(
        f"{where} has no weights that can be read ({', '.join(_READABLE)}). It has: "
        f"{', '.join(sorted(names)[:30]) or 'nothing'}."
    )


def _local(path: Path, file: str | None) -> Source:
    if path.is_file():
        if file is not None:
            raise UserError(f"--file={file} is for folders and repositories, but {path} is a file.")
        _check_readable(path.name)
        folder, chosen = path.parent, path.name
        names = [p.name for p in folder.iterdir() if p.is_file()]
    else:
        if has_weights(path):
            raise UserError(f"{path} is a model folder already: use it as it is.")
        folder = path
        names = [p.relative_to(path).as_posix() for p in sorted(path.rglob("*")) if p.is_file()]
        chosen = choose(names, file, str(path))
    return _read(str(path), chosen, names, lambda name: folder / name, "")


def _read(name: str, file: str, names: Sequence[str], fetch: Callable[[str], Path], revision: str) -> Source:
    parent = f"{file.rpartition('/')[0]}/" if "/" in file else ""
    jsons = []
    for beside in ("config.json", "preprocessor_config.json"):
        place = next((place for place in (parent + beside, beside) if place in names), None)
        jsons.append({} if place is None else _json(fetch(place)))
    weights = fetch(file)
    shards: tuple[Path, ...] = ()
    if file.endswith(INDEX):
        weight_map = _json(weights).get("weight_map")
        if not isinstance(weight_map, dict) or not all(_is_name(shard) for shard in weight_map.values()):
            raise UserError(f"{weights} is no index of weights: its weight_map must name files beside it.")
        shard_names = sorted(set(weight_map.values()))
        missing = [shard for shard in shard_names if not revision and not (weights.parent / shard).is_file()]
        if missing or not shard_names:
            raise UserError(f"{weights} names the files {', '.join(missing) or '(none)'}, which are not there.")
        shards = tuple(fetch(parent + shard) for shard in shard_names)
    return Source(name, weights, shards, *jsons, revision)


def _repository(source: str) -> str:
    name = re.sub(r"^(hf-hub:|hf_hub:|https://huggingface\.co/)", "", source).rstrip("/")
    if name in PRESETS and PRESETS[name].hub:
        return PRESETS[name].hub[0]
    if _ID.fullmatch(name) and not name.endswith(_READABLE):
        return name
    if "/" not in name and find_preset(name) is not None and name not in PRESETS:
        return f"timm/{name}"
    raise UserError(
        f"There is no file or folder {source!r}, and it is no repository on the hub. Give a path, or an id such as "
        f"facebook/dinov2-small, or one of {', '.join(name for name, preset in PRESETS.items() if preset.hub)}."
    )


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and Path(value).name == value and "\\" not in value


def _check_readable(name: str) -> None:
    if not name.endswith(_READABLE):
        raise UserError(
            f"{name} is refused: only {', '.join(_READABLE)} are read. Other formats, pickles above all, can run code "
            "when they are opened."
        )


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise UserError(f"{path} cannot be read as JSON ({error}). Download it again.") from error
    if not isinstance(value, dict):
        raise UserError(f"{path} holds a {type(value).__name__}; expected a JSON object.")
    return value
