"""StableHLO: files that a process with nothing but JAX and NumPy loads, and that say what the model says."""

import json
import re
import subprocess
import sys

import jax
import numpy as np
import pytest
from jax import export

from painjax.export import export_model
from painjax.model_folder import build_model, read_model_folder
from tests import tiny_encoder, tiny_vitpain

# The program of a user who has no PainJAX: whatever else it tries to import is an error.
PROGRAM = """
import sys

class OnlyJax:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.split(".")[0] in {forbidden}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, OnlyJax)
import json
from pathlib import Path
import jax
import numpy as np
from jax import export

folder, inputs, outputs = map(Path, sys.argv[1:])
parameters = dict(np.load(folder / "parameters.npz"))
given = dict(np.load(inputs))

def call(name, *arguments):
    function = export.deserialize(bytearray((folder / f"{name}.stablehlo").read_bytes()))
    return jax.jit(function.call)(parameters, *arguments)

found = {}
if (folder / "encode.stablehlo").exists():
    found["encode"] = call("encode", given["image"])
else:
    found["predict"] = call("predict", given["image"])
if (folder / "enrol.stablehlo").exists():
    found["predict_with_neutral"] = call("predict_with_neutral", given["image"], given["image"][::-1].copy())
    reference = call("enrol", given["neutral"])
    found["predict_enrolled"] = call("predict_enrolled", given["image"], reference)
flat = {f"{name}/{key}": value for name, values in found.items() for key, value in values.items()}
np.savez(outputs, **flat)
print(json.dumps(sorted({name.split(".")[0] for name in sys.modules})))
"""
FORBIDDEN = {"painjax", "flax", "optax", "orbax", "safetensors", "jaxtyping", "ml_collections", "tensorflow", "torch"}

IMAGE, NEUTRAL = tiny_vitpain.pictures(3), tiny_vitpain.pictures(2, seed=1)


def run_elsewhere(folder, tmp_path):
    np.savez(tmp_path / "inputs.npz", image=IMAGE, neutral=NEUTRAL)
    command = [sys.executable, "-I", "-c", PROGRAM.replace("{forbidden}", repr(FORBIDDEN))]
    command += [str(folder), str(tmp_path / "inputs.npz"), str(tmp_path / "outputs.npz")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert not FORBIDDEN & set(json.loads(done.stdout))
    found: dict[str, dict] = {}
    with np.load(tmp_path / "outputs.npz") as arrays:
        for name in arrays:
            function, key = name.split("/")
            found.setdefault(function, {})[key] = arrays[name]
    return found


def assert_same(found, output):
    expected = tiny_vitpain.expected(output)
    assert set(found) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=1e-5, rtol=1e-5, err_msg=name)


@pytest.mark.parametrize(
    "fields",
    [
        {"neutral": "shared", "uncertainty": True, "lora_rank": 2, "dropout": 0.1, "drop_path": 0.1},
        {"neutral": "channels", "dtype": "bfloat16", "rope_rescale": 2.0},
        tiny_vitpain.OFFICIAL,
    ],
    ids=["shared", "channels", "official"],
)
def test_a_process_with_only_jax_says_what_the_model_says(fields, tmp_path):
    source = tiny_vitpain.write(tmp_path / "model", **fields)
    folder = export_model(source, tmp_path / "exported", "stablehlo")
    found = run_elsewhere(folder, tmp_path)
    for name, output in tiny_vitpain.outputs(source, IMAGE, NEUTRAL).items():
        assert_same(found[name], output)


def test_an_encoder_has_one_function(tmp_path):
    source = tiny_encoder.write(tmp_path / "encoder")
    folder = export_model(source, tmp_path / "exported", "stablehlo")
    assert sorted(file.name for file in folder.iterdir()) == ["README.md", "encode.stablehlo", "parameters.npz"]
    tokens = build_model(read_model_folder(source))(tiny_vitpain.normalised(IMAGE))
    np.testing.assert_allclose(run_elsewhere(folder, tmp_path)["encode"]["tokens"], tokens, atol=1e-5)


def test_rows_are_symbolic_platforms_many_and_the_cards_code_runs(tmp_path):
    folder = export_model(tiny_vitpain.write(tmp_path / "model"), tmp_path / "exported", "stablehlo")
    exported = export.deserialize(bytearray((folder / "predict.stablehlo").read_bytes()))
    assert exported.platforms == ("cpu", "cuda", "tpu")
    assert exported.in_avals[-1].str_short() == "uint8[B,32,32,3]"
    assert not jax.tree.leaves(exported.in_avals[-1].shape[0] == 2)[0]
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.S)
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, cwd=folder, check=False)
    assert done.returncode == 0, done.stderr
    assert "'pspi': (2,)" in done.stdout
    assert "enrol" not in code  # this model has no use for neutral pictures
