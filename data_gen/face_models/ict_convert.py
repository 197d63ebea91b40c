"""ICT-FaceKit's OBJ files -> one compact cached file.

The source is 158 text files (405 MB) of one topology: a neutral head, 100 identity modes and 57 expression shapes, in
centimetres. The cache holds the neutral, the differences from it and the topology as float32 and int32 arrays (53 MB).
The OBJ files carry six significant digits, so float32 keeps every difference to better than a tenth of a micrometre.

Source: ICT-FaceKit Light, Copyright (c) 2020 USC Institute for Creative Technologies, MIT licence; Li et al.,
"Learning Formation of Physically-Based Face Attributes", CVPR 2020.
"""

import dataclasses
import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data_gen import array_file

REPOSITORY = "ICT-VGL/ICT-FaceKit"
COMMIT = "da5f95a607f5e6b37755b38d3385d7f2853732e5"  # the files have not changed since 2020; checksums.tsv pins them
VERTICES, FACES = 26_719, 26_384
IDENTITY_MODES = 100
FORMAT = 1  # part of the cache's name: raise it when the arrays below change

NEUTRAL = "generic_neutral_mesh"
_PAIRS = (
    "browDown", "browInnerUp", "browOuterUp", "cheekPuff", "cheekRaiser", "cheekSquint", "eyeBlink", "eyeLookDown",
    "eyeLookIn", "eyeLookOut", "eyeLookUp", "eyeSquint", "eyeWide", "mouthDimple", "mouthFrown", "mouthLowerDown",
    "mouthPress", "mouthSmile", "mouthStretch", "mouthUpperUp", "noseSneer", "PupilDilate",
)  # fmt: skip
_SINGLES = (
    "jawForward", "jawLeft", "jawOpen", "jawRight", "mouthClose", "mouthFunnel", "mouthLeft", "mouthPucker",
    "mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper",
)  # fmt: skip
IDENTITIES = tuple(f"identity{mode:03}" for mode in range(IDENTITY_MODES))
EXPRESSIONS = tuple(sorted([f"{pair}_{side}" for pair in _PAIRS for side in "LR"] + list(_SINGLES)))
SHAPES = (*IDENTITIES, *EXPRESSIONS)
SOURCE_FILES = tuple(f"{name}.obj" for name in (NEUTRAL, *SHAPES))

HOW_TO_GET = (
    f"Get the `FaceXModel` folder from the public repository {REPOSITORY} (MIT licence, 405 MB; "
    f"`git clone https://github.com/{REPOSITORY}`) and set the environment variable PAINJAX_ICT_DIR to it."
)


class DamagedCache(ValueError):
    """A converted model that cannot be read; the message says how to get it back."""


@dataclasses.dataclass(frozen=True)
class IctArrays:
    """The converted source: V = 26,719 vertices in cm, F = 26,384 quads or triangles.

    Attributes:
      neutral: (V, 3) float32.
      deltas: (157, V, 3) float32, shape minus neutral, in the order of `SHAPES`.
      faces, uv_faces: (F, 4) int32, counter-clockwise, -1 in the last place of a triangle.
      uvs: (U, 2) float32; the integer part of u is the UDIM tile of the material.
      materials: (F,) unicode, the OBJ's material names.
    """

    neutral: np.ndarray
    deltas: np.ndarray
    faces: np.ndarray
    uv_faces: np.ndarray
    uvs: np.ndarray
    materials: np.ndarray


def source_urls() -> dict[str, str]:
    """File name -> download URL of every source file, pinned to one commit."""
    return {name: f"https://raw.githubusercontent.com/{REPOSITORY}/{COMMIT}/FaceXModel/{name}" for name in SOURCE_FILES}


def find_sources(directory: Path) -> dict[str, Path]:
    """File name -> path in an unpacked `FaceXModel` folder, or in the folder that holds it.

    Raises:
      FileNotFoundError: if the folder is not one of ICT-FaceKit, or lacks a file; the message names it.
      ValueError: if it is of another version; the message says what differs.
    """
    for folder in (directory, directory / "FaceXModel"):
        if (folder / f"{NEUTRAL}.obj").is_file():
            break
    else:
        raise FileNotFoundError(
            f"{directory} holds no ICT-FaceKit model: neither it nor a `FaceXModel` folder inside it has "
            f"{NEUTRAL}.obj. {HOW_TO_GET}"
        )
    missing = [name for name in SOURCE_FILES if not (folder / name).is_file()]
    strange = sorted(path.name for path in folder.glob("*.obj") if path.name not in SOURCE_FILES)
    if missing and strange:
        raise ValueError(
            f"{folder} is of another version of ICT-FaceKit: it has {strange[0]} ({len(strange)} OBJ files that "
            f"ICT-FaceKit Light at commit {COMMIT[:8]} does not have) and lacks {missing[0]} ({len(missing)} that it "
            f"has). {HOW_TO_GET}"
        )
    if missing:
        others = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise FileNotFoundError(
            f"{folder} lacks {missing[0]}{others}; all {len(SOURCE_FILES)} OBJ files of the model are needed. "
            f"The copy is incomplete: copy or download the folder again. {HOW_TO_GET}"
        )
    return {name: folder / name for name in SOURCE_FILES}


def cache_folder() -> Path:
    """Where converted models are kept: the environment variable PAINJAX_CACHE, else ~/.cache/painjax."""
    return Path(os.environ.get("PAINJAX_CACHE") or Path.home() / ".cache" / "painjax")


def newest_cache() -> Path | None:
    """The most recently converted model in the cache folder, if there is one."""
    found = sorted(cache_folder().glob(f"ict-v{FORMAT}-*.npz"), key=lambda path: (path.stat().st_mtime_ns, path.name))
    return found[-1] if found else None


def cached(files: Mapping[str, Path]) -> Path:
    """Where the converted model of these source files is or will be."""
    return cache_folder() / f"ict-v{FORMAT}-{_key(files)}.npz"


def convert(files: Mapping[str, Path], progress: bool = True) -> Path:
    """Converts the OBJ files unless that has been done, and returns the cached file.

    Args:
      files: OBJ name -> path for every name in `SOURCE_FILES`; the paths may have any names, as TFDS's downloads have.
      progress: show a progress bar.

    Raises:
      ValueError: if a file is damaged; the message names file and line.
      FileNotFoundError: if a file is missing.
    """
    target = cached(files)
    if target.exists():
        os.utime(target)  # the newest cache is the one last asked for
    else:
        array_file.write(target, dataclasses.asdict(read_sources(files, progress)))
    return target


def load_cache(path: Path) -> IctArrays:
    """Reads a converted model.

    Raises:
      DamagedCache: if the file is cut short, corrupt or lacks an array.
    """
    try:
        stored = array_file.read(path)
        arrays = IctArrays(**{field.name: stored[field.name] for field in dataclasses.fields(IctArrays)})
    except (array_file.Damaged, KeyError) as error:
        raise DamagedCache(
            f"{path} is damaged ({error}). Delete it and use the model again with PAINJAX_ICT_DIR set to the "
            f"`FaceXModel` folder, from which it is made anew. {HOW_TO_GET}"
        ) from error
    expected = (len(SHAPES), len(arrays.neutral), 3)
    if arrays.neutral.shape[1:] != (3,) or arrays.deltas.shape != expected:
        raise DamagedCache(
            f"{path} holds shapes of {arrays.deltas.shape} over vertices of {arrays.neutral.shape}; expected "
            f"{expected}. Delete it and use the model again with PAINJAX_ICT_DIR set. {HOW_TO_GET}"
        )
    return arrays


def load_sources(files: Mapping[str, Path], progress: bool = True) -> IctArrays:
    """The model of some source files, from the cache where it is there and sound; arguments and errors as `convert`."""
    try:
        return load_cache(convert(files, progress))
    except DamagedCache:
        cached(files).unlink(missing_ok=True)
        return load_cache(convert(files, progress))


def read_sources(files: Mapping[str, Path], progress: bool = True) -> IctArrays:
    """Parses the OBJ files; arguments and errors as for `convert`."""
    missing = [name for name in SOURCE_FILES if name not in files]
    if missing:
        raise FileNotFoundError(f"{missing[0]} is missing from the ICT-FaceKit source files. {HOW_TO_GET}")
    neutral = read_vertices(files[f"{NEUTRAL}.obj"], VERTICES)
    deltas = np.empty((len(SHAPES), *neutral.shape), np.float32)
    bar = tqdm(SHAPES, desc="Converting ICT-FaceKit (once)", unit="file", disable=not progress)
    for row, name in enumerate(bar):
        deltas[row] = read_vertices(files[f"{name}.obj"], VERTICES) - neutral
    return IctArrays(neutral.astype(np.float32), deltas, **_read_topology(files[f"{NEUTRAL}.obj"]))


def read_vertices(path: Path, count: int | None = None) -> np.ndarray:
    """The `v` lines of an OBJ file, fast.

    Args:
      path: an OBJ file whose `v` lines stand together.
      count: how many vertices there must be; None takes what there is.

    Returns:
      (V, 3) float64.

    Raises:
      ValueError: if a `v` line is not three finite numbers or their number is not `count`.
    """
    text = Path(path).read_bytes()
    start = 0 if text.startswith(b"v ") else text.find(b"\nv ") + 1
    stop = text.find(b"\n", text.rfind(b"\nv ") + 1)
    block = text[start : stop if stop >= 0 else None]
    lines = block.count(b"\nv ") + block.startswith(b"v ")
    fields = block.replace(b"v", b" ").split()
    try:
        vertices = np.array(fields, np.float64)
    except ValueError:
        vertices = np.empty(0)
    if vertices.size != 3 * lines or not lines or not np.isfinite(vertices).all():
        raise ValueError(_damage(path, text))
    if count is not None and lines != count:
        raise ValueError(
            f"{path} has {lines} vertices; expected {count}, as in all of ICT-FaceKit Light at commit {COMMIT[:8]}. "
            f"It is of another version, damaged or cut short: download it again. {HOW_TO_GET}"
        )
    return vertices.reshape(-1, 3)


def _damage(path: Path, text: bytes) -> str:
    """Finds the line that the fast path stumbled over."""
    number = r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?"
    vertex = re.compile(rf"v(\s+{number}){{3}}\s*$")
    seen, inside = 0, False
    for line, content in enumerate(text.decode("ascii", "replace").splitlines(), 1):
        if content.startswith("v "):
            seen, inside = seen + 1, True
            if not vertex.match(content):
                return (
                    f"{path}, line {line}: {content.strip()[:60]!r} is not a vertex of three finite numbers. "
                    f"The file is damaged: download it again. {HOW_TO_GET}"
                )
        elif (
            inside
            and not content.startswith(("vt ", "vn ", "f ", "g ", "s ", "o ", "usemtl ", "#"))
            and content.strip()
        ):
            return (
                f"{path}, line {line}: {content.strip()[:60]!r} is no line of an OBJ file. "
                f"The file is damaged: download it again. {HOW_TO_GET}"
            )
    return f"{path} has {seen} readable vertices. The file is damaged or no OBJ file: download it again. {HOW_TO_GET}"


def _read_topology(path: Path) -> dict[str, np.ndarray]:
    uvs, faces, uv_faces, materials, material = [], [], [], [], ""
    for line, content in enumerate(Path(path).read_text("ascii", "replace").splitlines(), 1):
        kind, *fields = content.split() or [""]
        try:
            if kind == "vt":
                uvs.append((float(fields[0]), float(fields[1])))
            elif kind == "usemtl":
                material = fields[0]
            elif kind == "f":
                corners = [tuple(map(int, corner.split("/")[:2])) for corner in fields]
                corners = [(v, t) for v, t in corners if 0 < v <= VERTICES and 0 < t]
                if len(corners) != len(fields) or len(corners) not in (3, 4):
                    raise ValueError(content)
                padding = [-1] * (4 - len(corners))
                faces.append([v - 1 for v, _ in corners] + padding)
                uv_faces.append([t - 1 for _, t in corners] + padding)
                materials.append(material)
        except (ValueError, IndexError):
            raise ValueError(
                f"{path}, line {line}: {content.strip()[:60]!r} is not a face of three or four `vertex/uv` corners or "
                f"a texture coordinate. The file is damaged: download it again. {HOW_TO_GET}"
            ) from None
    uv_array, uv_faces_array = np.asarray(uvs, np.float32).reshape(-1, 2), np.asarray(uv_faces, np.int32)
    if len(faces) != FACES or uv_faces_array.max() >= len(uvs):
        raise ValueError(
            f"{path} has {len(faces)} faces over {len(uvs)} texture coordinates; expected {FACES} faces, each over "
            f"coordinates that are there. The file is damaged or cut short: download it again. {HOW_TO_GET}"
        )
    return {
        "faces": np.asarray(faces, np.int32),
        "uv_faces": uv_faces_array,
        "uvs": uv_array,
        "materials": np.asarray(materials),
    }


def _key(files: Mapping[str, Path]) -> str:
    """Changes when a source file does: a hash of names, sizes and modification times."""
    digest = hashlib.sha256()
    for name in sorted(files):
        try:
            status = os.stat(files[name])
        except FileNotFoundError:
            raise FileNotFoundError(f"{files[name]} ({name}) does not exist. {HOW_TO_GET}") from None
        digest.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]
