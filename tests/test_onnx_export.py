"""ONNX: what onnxruntime computes is what the model computes, for any number of rows."""

import re
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

from painjax.errors import UserError
from painjax.export import export_model
from painjax.model_folder import build_model, read_model_folder
from tests import tiny_encoder, tiny_vitpain

IMAGE, NEUTRAL = tiny_vitpain.pictures(3), tiny_vitpain.pictures(2, seed=1)
needs_converter = pytest.mark.skipif(
    find_spec("jax2onnx") is None or find_spec("onnxruntime") is None,
    reason="needs painjax[onnx]",
)


def run(path, **inputs):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # it tells of constants that it folds away
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, inputs), strict=True))


def assert_same(found, output):
    expected = tiny_vitpain.expected(output)
    assert set(found) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=1e-4, rtol=1e-5, err_msg=name)


@needs_converter
@pytest.mark.parametrize(
    "fields",
    [
        {"neutral": "shared", "uncertainty": True, "lora_rank": 2, "mlp": "swiglu"},
        {"neutral": "channels", "dtype": "bfloat16"},
        tiny_vitpain.OFFICIAL,
    ],
    ids=["shared", "channels", "official"],
)
def test_onnxruntime_says_what_the_model_says(fields, tmp_path):
    source = tiny_vitpain.write(tmp_path / "model", **fields)
    folder = export_model(source, tmp_path / "exported", "onnx")
    outputs = tiny_vitpain.outputs(source, IMAGE, NEUTRAL)
    found = run(folder / "predict.onnx", image=IMAGE)
    assert_same(found, outputs["predict"])
    reference = run(folder / "enrol.onnx", neutral=NEUTRAL)
    assert_same(run(folder / "predict_enrolled.onnx", image=IMAGE, **reference), outputs["predict_enrolled"])
    alone = run(folder / "predict.onnx", image=IMAGE[1:2])  # another number of rows
    np.testing.assert_allclose(alone["aus"][0], found["aus"][1], atol=1e-4)


@needs_converter
def test_an_encoder_and_the_cards_code(tmp_path):
    source = tiny_encoder.write(tmp_path / "encoder", position="learned", position_grid=4, registers=0)
    folder = export_model(source, tmp_path / "exported", "onnx")
    tokens = build_model(read_model_folder(source))(tiny_vitpain.normalised(IMAGE))
    np.testing.assert_allclose(run(folder / "encode.onnx", image=IMAGE)["tokens"], tokens, atol=1e-4)
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.S)
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, cwd=folder, check=False)
    assert done.returncode == 0, done.stderr
    assert "'tokens': (2, 17, 32)" in done.stdout


def test_without_the_converter_the_command_that_installs_it_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jax2onnx", None)
    source = tiny_vitpain.write(tmp_path / "model")
    with pytest.raises(UserError, match=r"pip install 'painjax\[onnx\]'"):
        export_model(source, tmp_path / "exported", "onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
