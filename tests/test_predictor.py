"""Predictor: what it says is what the model says, enrolled or not, and what that costs."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from PIL import Image

from painjax import predictor
from painjax.errors import UserError
from painjax.model_folder import write_model_folder
from painjax.models.vit import ViT
from painjax.models.vitpain import ViTPain, ViTPainConfig
from painjax.pictures import NoFaceError
from painjax.predictor import Predictor
from painjax.pspi import pspi
from painjax.sharding import put_batch

SIZE, PATCH = 32, 8
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.fixture(autouse=True, scope="module")
def quick_compilation():
    """Programs that run for milliseconds need no optimizing."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def make_model(seed=0, **options):
    """A small model whose every part leaves its mark on the outputs, unlike fresh ones."""
    shape = {"image_size": SIZE, "patch_size": PATCH, "width": 16, "depth": 1, "heads": 2}
    model = nnx.eval_shape(lambda: ViTPain(ViTPainConfig(**shape | options), rngs=nnx.Rngs(0)))
    rng = np.random.default_rng(seed)
    for path, value in nnx.to_flat_state(nnx.state(model, nnx.Param)):
        mean = 0.8 if path[-1] in ("scale", "gamma1", "gamma2") else 0.0
        spread = 0.1 if len(value.shape) < 3 and path[-1] != "kernel" else 0.2
        value.set_value(jnp.asarray(mean + spread * rng.standard_normal(value.shape), jnp.float32))
    return model


def call(model, *inputs):
    """The model itself, on normalised pictures."""

    def run(params, *inputs):
        fresh = ViTPain(model.config, rngs=nnx.Rngs(0))
        fresh.eval()
        nnx.update(fresh, params)
        return fresh(*inputs)

    quick = {"xla_backend_optimization_level": 0}  # compiles in half the time
    return jax.jit(run, compiler_options=quick), (nnx.to_pure_dict(nnx.state(model, nnx.Param)), *inputs)


def outputs(model, *inputs):
    function, arguments = call(model, *inputs)
    return function(*arguments)


def noise(count, height=SIZE, width=SIZE, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3)).astype(np.uint8)


def to_input(pixels, mean=MEAN, std=STD):
    return jnp.asarray(((pixels / 255 - mean) / std).astype(np.float32))


def test_says_what_the_model_says():
    """Batches of five over eight devices, against one call of the model with the normalisation written out."""
    model, pixels = make_model(depth=2, uncertainty=True), noise(11)
    found = Predictor(model, batch_size=5).predict(pixels, heatmap=True, attention=True)
    want = outputs(model, to_input(pixels))
    np.testing.assert_allclose(found.pspi, np.clip(want.pspi, 0, 16), atol=1e-4)
    np.testing.assert_allclose(found.aus, want.aus, atol=1e-5)
    np.testing.assert_allclose(found.pspi_from_aus, pspi(np.asarray(want.aus)), atol=1e-4)
    np.testing.assert_allclose(found.threshold_probability, 1 / (1 + np.exp(-want.threshold_logits)), atol=1e-5)
    np.testing.assert_allclose(found.pspi_std, np.exp(want.pspi_log_variance) ** 0.5, rtol=1e-5)
    np.testing.assert_allclose(found.attention, want.au_attention, atol=1e-5)
    patch = 1 / (1 + np.exp(-np.asarray(want.heatmap)[3, 6].reshape(PATCH, PATCH)))  # row 1, column 2 of 4 x 4
    np.testing.assert_allclose(found.heatmap[3, 8:16, 16:24], patch, atol=1e-5)
    assert found.warnings == [[]] * 11


@pytest.mark.parametrize("neutral", ["channels", "separate"])
def test_an_enrolled_person_gives_what_the_neutral_pictures_give(neutral):
    model, pixels, calm = make_model(neutral=neutral), noise(6), noise(3, seed=1)
    predict = Predictor(model, batch_size=8)
    found = predict.predict(pixels, predict.enrol(calm))
    repeated = jnp.broadcast_to(to_input(calm)[None], (6, 3, SIZE, SIZE, 3))
    want = outputs(model, to_input(pixels), repeated)
    np.testing.assert_allclose(found.pspi, np.clip(want.pspi, 0, 16), atol=1e-4)
    np.testing.assert_allclose(found.aus, want.aus, atol=1e-5)
    another = predict.predict(pixels, predict.enrol(noise(3, seed=2)))
    assert np.abs(found.aus - another.aus).max() > 1e-3


def test_neutral_pictures_of_any_size_and_kind(tmp_path):
    predict = Predictor(make_model(neutral="shared"), batch_size=8)
    (pixels,) = noise(1)
    large = Image.fromarray(pixels).resize((4 * SIZE, 4 * SIZE), Image.Resampling.NEAREST)
    large.save(tmp_path / "calm.png")
    small = np.asarray(large.resize((SIZE, SIZE), Image.Resampling.LANCZOS))
    want = predict.predict(pixels, predict.enrol(small)).aus
    for calm in (tmp_path / "calm.png", tmp_path, [large], large, [np.asarray(large)]):
        np.testing.assert_allclose(predict.predict(pixels, predict.enrol(calm)).aus, want, atol=1e-5)


def test_adapters_are_folded_in():
    model, pixels = make_model(lora_rank=2), noise(3)
    predict = Predictor(model, batch_size=8)
    assert not any("lora" in str(path) for path, _ in jax.tree.leaves_with_path(predict._params))
    np.testing.assert_allclose(predict.predict(pixels).aus, outputs(model, to_input(pixels)).aus, atol=1e-4)


def test_the_authors_heads_predict_too():
    model = make_model(width=32, heads_layout="official", position="none", registers=0, neutral="separate")
    predict, pixels = Predictor(model, batch_size=8), noise(2)
    found, want = predict.predict(pixels, attention=True), outputs(model, to_input(pixels))
    np.testing.assert_allclose(found.pspi, want.pspi, atol=1e-4)
    assert found.heatmap is None and found.pspi_std is None and found.attention.shape == (2, 6, 16)
    assert (found.aus <= [5, 5, 5, 5, 5, 1]).all()  # their units end in ReLU alone
    with pytest.raises(UserError, match="no heatmap"):
        predict.predict(pixels, heatmap=True)


def test_a_model_folder_brings_its_preprocessing(tmp_path):
    model, pixels = make_model(), noise(2, 2 * SIZE, 2 * SIZE)
    mean, std = (0.5, 0.4, 0.3), (0.5, 0.25, 0.2)
    write_model_folder(
        tmp_path / "model",
        jax.tree.map(np.asarray, nnx.to_pure_dict(nnx.state(model, nnx.Param))),
        kind="vitpain",
        model=dataclasses.asdict(model.config),
        preprocessing={"mean": mean, "std": std, "size": SIZE, "crop": 0.5, "interpolation": "bicubic"},
        source={"from": "a test", "revision": None, "file": None, "sha256": None},
        card="A test.",
    )
    predict = Predictor(tmp_path / "model")
    want = outputs(model, to_input(pixels[:, 16:48, 16:48], mean, std))
    np.testing.assert_allclose(predict.predict(pixels).aus, want.aus, atol=1e-5)
    small = np.asarray(Image.fromarray(pixels[0]).resize((SIZE, SIZE), Image.Resampling.BICUBIC, box=(4, 4, 60, 60)))
    face = Predictor(tmp_path / "model", crop=lambda pixels: (4, 4, 60, 60)).read(pixels[0])
    np.testing.assert_array_equal(face.pixels, small)  # a face that was found is not cut again


def test_a_heatmap_model_reads_one_channel():
    model = make_model(in_channels=1)
    pixels = noise(2)[..., :1]
    want = outputs(model, jnp.asarray((pixels / 255 - 0.1) / 0.2, jnp.float32))
    np.testing.assert_allclose(Predictor(model, batch_size=8).predict(pixels).aus, want.aus, atol=1e-5)


# ---- What it costs ----


def test_few_programs_for_any_number_of_pictures():
    model = make_model(neutral="channels")
    predictor._forward.clear_cache()  # other tests have had models of this shape
    predict, pixels = Predictor(model, batch_size=30), noise(70)
    for count in (1, 2, 7, 8, 9, 16, 17, 32, 63, 64, 70):
        assert len(predict.predict(pixels[:count]).pspi) == count
    assert predictor._forward._cache_size() == 2  # of 8 and of 32 rows
    Predictor(model, batch_size=30).predict(pixels)
    assert predictor._forward._cache_size() == 2  # nor does another predictor of that shape need more


def flops(predict, pixels=None, reference=None, **parts):
    """Arithmetic for 16 frames."""
    pixels = noise(16) if pixels is None else pixels
    parts = {"heatmap": False, "attention": False} | parts
    lowered = predictor._forward.lower(predict._params, pixels, reference, **predict._static, **parts)
    return lowered.compile({"xla_backend_optimization_level": 0}).cost_analysis()["flops"]


def test_enrolled_prediction_needs_one_pass_of_the_encoder_per_frame(monkeypatch):
    encoded, plain = [], ViT.__call__

    def count(self, image):
        encoded.append(image.shape[0])
        return plain(self, image)

    monkeypatch.setattr(ViT, "__call__", count)
    model = make_model(neutral="shared", width=64, heads=4)
    predict = Predictor(model, batch_size=8)
    reference = predict.enrol(noise(1))
    assert encoded == [1]
    predict.predict(noise(24), reference)
    assert encoded == [1, 8]  # traced once, with the frames and nothing else, and run three times

    # XLA's own count of the arithmetic. It counts a scanned block once, here the only one.
    function, arguments = call(model, *(to_input(noise(16)),) * 2)
    full = function.lower(*arguments).compile().cost_analysis()["flops"]
    assert flops(predict, reference=reference) < 0.65 * full


def test_what_is_not_asked_for_costs_nothing_and_rows_are_shared_out_over_the_devices():
    predict = Predictor(make_model(width=64), batch_size=16)
    plain, with_heatmap = flops(predict), flops(predict, heatmap=True)
    assert with_heatmap - plain >= 2 * 64 * 16 * SIZE * SIZE  # each of the pixels is made from 64 channels

    assert all(len(leaf.devices()) == jax.device_count() == 8 for leaf in jax.tree.leaves(predict._params))
    with jax.set_mesh(predict._mesh):
        shared_out = flops(predict, pixels=put_batch({"pixels": noise(16)}, predict._mesh)["pixels"])
    assert shared_out < 0.2 * plain  # of each device


def test_pictures_are_taken_as_they_are_needed():
    """However long a video is, only a few batches of it are in memory."""
    predict = Predictor(make_model(), batch_size=8)
    (pixels,) = noise(1)
    taken = []

    def endless():
        while True:
            taken.append(len(taken))
            yield len(taken) - 1, pixels

    found = predict.stream(endless())
    for i in range(100):
        key, _ = next(found)
        assert key == i and len(taken) <= i + 3 * 8
    found.close()


# ---- What cannot be used ----


def test_a_picture_that_cannot_be_used_leaves_the_others(tmp_path):
    predict = Predictor(make_model(), batch_size=4)
    (tmp_path / "bad.png").write_bytes(b"no picture")
    pixels = noise(5)
    sources = [(0, pixels[0]), (1, tmp_path / "bad.png"), *((i, pixels[i - 1]) for i in range(2, 6))]
    found = list(predict.stream(sources))
    assert [key for key, _ in found] == list(range(6))
    assert isinstance(found[1][1], UserError)
    got = [result.pspi for _, result in found if not isinstance(result, UserError)]
    np.testing.assert_allclose(got, predict.predict(pixels).pspi, atol=1e-4)
    with pytest.raises(UserError, match="bad.png cannot be read"):
        predict.predict([pixels[0], tmp_path / "bad.png"])
    only_bad = list(predict.stream([(i, tmp_path / "bad.png") for i in range(4)]))
    assert len(only_bad) == 4 and all(isinstance(result, UserError) for _, result in only_bad)


def test_what_comes_before_a_break_is_told_first():
    def sources():
        yield from enumerate(noise(6))
        raise UserError("The video breaks off.")

    found, predict = [], Predictor(make_model(), batch_size=8)
    with pytest.raises(UserError, match="breaks off"):
        for key, _ in predict.stream(sources()):
            found.append(key)
    assert found == list(range(6))


def test_pictures_without_a_name_are_numbered():
    predict = Predictor(
        make_model(), batch_size=4, crop=lambda pixels: None if pixels.max() < 9 else (0, 0, SIZE, SIZE)
    )
    with pytest.raises(NoFaceError, match="no face in the image number 2"):
        predict.predict([*noise(2), np.zeros((SIZE, SIZE, 3), np.uint8)])


def test_nothing_to_predict_and_wrong_arguments(tmp_path):
    predict = Predictor(make_model(), batch_size=4)
    for nothing in ([], np.zeros((0, SIZE, SIZE, 3), np.uint8)):
        with pytest.raises(UserError, match="No pictures"):
            predict.predict(nothing)
    with pytest.raises(UserError, match="trained without neutral references"):
        predict.enrol(noise(1))
    with pytest.raises(UserError, match="No pictures"):
        Predictor(make_model(neutral="shared")).enrol([])
    with pytest.raises(UserError, match="batch_size is 0"):
        Predictor(make_model(), batch_size=0)
    with pytest.raises(UserError, match="crop is 'middle'"):
        Predictor(make_model(), crop="middle")
    with pytest.raises(UserError, match="is a video.*predict_video"):
        predict.predict("film.mp4")
    with pytest.raises(FileNotFoundError, match="no trained model"):
        Predictor(tmp_path)
