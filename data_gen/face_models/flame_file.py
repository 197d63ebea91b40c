"""FLAME's files: where they lie, and whether they hold what a FLAME model holds.

Source: FLAME, Li et al., "Learning a Model of Facial Shape and Expression from 4D Scans", SIGGRAPH Asia 2017;
releases of 2017, 2019, 2020 and 2023, https://flame.is.tue.mpg.de.
"""

import dataclasses
import os
from pathlib import Path

import numpy as np

from data_gen import array_file
from data_gen.face_models import flame_pickle

IDENTITY_MODES = 300  # columns of `shapedirs` before those of the expressions
HEIGHT = (0.15, 0.60)  # metres between which a head with its neck must be tall
MODEL_FILES = (  # looked for in a folder, in this order; the head of all people before those of one gender
    "flame2023.pkl", "flame2023.npz", "flame2023_Open.pkl", "flame2023_no_jaw.pkl", "generic_model.pkl",
    "FLAME_NEUTRAL.pkl", "generic_model.npz", "FLAME_NEUTRAL.npz", "female_model.pkl", "FLAME_FEMALE.pkl",
    "male_model.pkl", "FLAME_MALE.pkl",
)  # fmt: skip
USED = {"v_template": (None, 3), "shapedirs": (None, 3, None), "f": (None, 3), "weights": (None, None)}  # None: any
JOINTS = 5
EMBEDDING_FILE = "flame_static_embedding.pkl"
HOW_TO_GET = (
    "Register at https://flame.is.tue.mpg.de, download 'FLAME 2023 Open' or 'FLAME 2020', unpack it, and set the "
    "environment variable PAINJAX_FLAME_FILE to the model's file (such as flame2023_Open.pkl or generic_model.pkl) or "
    "to the folder that holds it. Most releases must not be passed on, which is why they do not come with PainJAX."
)


@dataclasses.dataclass(frozen=True)
class FlameArrays:
    """What the generator uses of a FLAME model of V vertices.

    Attributes:
      template: (V, 3) float64, metres, y up, z out of the face.
      modes: (300, V, 3) float32, metres for one standard deviation of each identity coefficient.
      faces: (F, 3) int32, counter-clockwise seen from outside.
      eyes: vertices that move with the (left, right) eyeball alone.
      embedding: (faces (n,), barycentric weights (n, 3)) of the last n = 51 (or all 68) points of the markup; None:
        the file that holds them does not lie beside the model.
    """

    template: np.ndarray
    modes: np.ndarray
    faces: np.ndarray
    eyes: tuple[np.ndarray, np.ndarray]
    embedding: tuple[np.ndarray, np.ndarray] | None


def find_file() -> Path:
    """The model's file, as PAINJAX_FLAME_FILE says.

    Raises:
      FileNotFoundError: if the variable is not set, or leads to no model; the message says how to get one.
    """
    place = os.environ.get("PAINJAX_FLAME_FILE")
    if not place:
        raise FileNotFoundError(
            f"The face model 'flame' needs a file of FLAME, and no place to find it is given. {HOW_TO_GET} The face "
            "model 'procedural' needs no files."
        )
    path = Path(place)
    if path.is_dir():
        for name in MODEL_FILES:
            if (path / name).is_file():
                return path / name
        raise FileNotFoundError(
            f"PAINJAX_FLAME_FILE is {place}, a folder without a FLAME model; looked for {', '.join(MODEL_FILES)}. "
            f"Set it to the file itself if yours has another name. {HOW_TO_GET}"
        )
    if not path.is_file():
        raise FileNotFoundError(f"PAINJAX_FLAME_FILE is {place}, which does not exist. {HOW_TO_GET}")
    return path


def read(path: Path) -> FlameArrays:
    """Reads a `.pkl` or `.npz` model, and the landmark file beside it if there is one.

    Raises:
      ValueError: if the file names anything but arrays (it is then not executed), or is no FLAME model; the message
        says what was found and what was expected.
    """
    content = _content(path)
    arrays = {key: _array(path, content, key, shape) for key, shape in USED.items()}
    vertices, joints = len(arrays["v_template"]), arrays["weights"].shape[1]
    if joints != JOINTS:
        raise ValueError(
            f"{path}: weights has {joints} joints; expected the {JOINTS} of FLAME (root, neck, jaw, two eyes). "
            f"A model of the SMPL family for another part of the body? {HOW_TO_GET}"
        )
    _check_shape(path, "shapedirs", arrays["shapedirs"], (vertices, 3, None))
    _check_shape(path, "weights", arrays["weights"], (vertices, JOINTS))
    for key, shape in (
        ("posedirs", (vertices, 3, 9 * (JOINTS - 1))),
        ("J_regressor", (JOINTS, vertices)),
        ("kintree_table", (2, JOINTS)),
    ):
        if content.get(key) is not None:  # not used, but a model of another kind shows in them
            _array(path, content, key, shape)
    if arrays["shapedirs"].shape[2] < IDENTITY_MODES:
        raise ValueError(
            f"{path}: shapedirs has {arrays['shapedirs'].shape[2]} columns; expected at least {IDENTITY_MODES} modes "
            f"of identity, as in FLAME's own files (400 with those of expression). {HOW_TO_GET}"
        )
    faces, height = arrays["f"], np.ptp(arrays["v_template"][:, 1])
    if not np.array_equal(faces, np.round(faces)) or faces.min() < 0 or faces.max() >= vertices:
        raise ValueError(f"{path}: f holds {faces.max():g}; expected indices of vertices, 0..{vertices - 1}.")
    if not HEIGHT[0] < height < HEIGHT[1]:
        raise ValueError(
            f"{path}: v_template is {height:g} tall; expected a head in metres, {HEIGHT[0]:g} to {HEIGHT[1]:g}."
        )
    rigid = arrays["weights"] > 0.99
    left, right = np.flatnonzero(rigid[:, 3]), np.flatnonzero(rigid[:, 4])
    if not (len(left) > 20 and len(right) > 20):
        raise ValueError(
            f"{path}: weights ties {len(left)} and {len(right)} vertices to the left and right eye (joints 3 and 4); "
            "expected two eyeballs."
        )
    modes = np.moveaxis(arrays["shapedirs"][..., :IDENTITY_MODES], -1, 0)
    faces = faces.astype(np.int32)
    return FlameArrays(
        template=arrays["v_template"].astype(np.float64),
        modes=np.ascontiguousarray(modes, np.float32),
        faces=faces,
        eyes=(left, right),
        embedding=_read_embedding(path.with_name(EMBEDDING_FILE), len(faces)),
    )


def _read_embedding(path: Path, faces: int) -> tuple[np.ndarray, np.ndarray] | None:
    if not path.is_file():
        return None
    content = _content(path)
    triangle = _array(path, content, "lmk_face_idx", (None,))
    weights = _array(path, content, "lmk_b_coords", (len(triangle), 3))
    if len(triangle) not in (51, 68):
        raise ValueError(f"{path}: lmk_face_idx holds {len(triangle)} landmarks; expected 51 or 68.")
    if triangle.min() < 0 or triangle.max() >= faces:
        raise ValueError(f"{path}: lmk_face_idx holds {triangle.max():g}; expected faces of the model, 0..{faces - 1}.")
    return triangle.astype(np.int64), weights.astype(np.float64)


def _array(path: Path, content: dict, key: str, shape: tuple[int | None, ...]) -> np.ndarray:
    if key not in content:
        raise ValueError(
            f"{path} has no {key!r}; it has {', '.join(sorted(map(str, content))) or 'nothing'}. That is no FLAME "
            f"model. {HOW_TO_GET}"
        )
    value = content[key]
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "iuf":
        raise ValueError(f"{path}: {key} is {type(value).__name__}; expected an array of numbers.")
    _check_shape(path, key, value, shape)
    if value.size == 0 or (key != "kintree_table" and not np.isfinite(value).all()):
        raise ValueError(f"{path}: {key} is empty or not finite; expected numbers. The file is damaged. {HOW_TO_GET}")
    return value


def _check_shape(path: Path, key: str, value: np.ndarray, shape: tuple[int | None, ...]) -> None:
    if len(shape) != value.ndim or any(want not in (None, got) for want, got in zip(shape, value.shape, strict=True)):
        expected = ", ".join("any" if size is None else str(size) for size in shape)
        raise ValueError(
            f"{path}: {key} has shape {value.shape}; expected ({expected}). That is no FLAME model, or it is damaged. "
            f"{HOW_TO_GET}"
        )


def _content(path: Path) -> dict:
    try:
        if path.suffix == ".npz":
            return array_file.read(path, USED)
        content = flame_pickle.load(path)
    except flame_pickle.Refused as error:
        raise ValueError(
            f"{path} asks for {error}; a FLAME model holds nothing but arrays. The file was not executed. Do not open "
            f"it with another program; get the model from its source. {HOW_TO_GET}"
        ) from error
    except ValueError as error:
        raise ValueError(f"{path} holds no arrays, or is cut short ({error}). {HOW_TO_GET}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds {type(content).__name__}; expected a dictionary of arrays. {HOW_TO_GET}")
    return content
