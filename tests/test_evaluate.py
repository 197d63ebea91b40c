"""Evaluation: every example once on any devices, clipped, with and without neutral, beside the best constant."""

import json
import shutil

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from painjax import evaluate
from painjax.data.records import dataset_version
from painjax.errors import UserError
from painjax.pspi import AU_MAX
from painjax.sharding import create_mesh
from painjax.state import make_model
from tests import synthetic_pain3d


def make_config(data_dir, **model) -> ConfigDict:
    return ConfigDict(
        {
            "seed": 0,
            "batch_size": 8,
            "data": {"name": "pain3d/quick", "data_dir": str(data_dir), "train_split": "train", "input": "image"},
            "model": {"image_size": 32, "patch_size": 8, "width": 16, "depth": 1, "heads": 2, "neutral": "channels"}
            | model,
        }
    )


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return synthetic_pain3d.build(tmp_path_factory.mktemp("data"), test=11)


@pytest.fixture
def trained(monkeypatch, data_dir):
    """A 'restored' model, so that evaluation is tested without a training."""

    def restore(config):
        model = make_model(config)
        model.eval()
        monkeypatch.setattr(evaluate.checkpoint, "restore_model", lambda workdir: (model, config, 7))
        return model, config

    return lambda **model: restore(make_config(data_dir, **model))


def test_a_model_without_a_heatmap_head_is_evaluated_on_the_rest(trained):
    model, config = trained(heads_layout="official", neutral="none", position="none", registers=0)
    summary = evaluate.predict_split(model, config, "test").summary()
    assert np.isfinite(summary["pspi"]["mae"]) and np.isnan(summary["heatmap"]["pcc"])


def test_every_example_once_in_order(trained):
    model, config = trained()
    predictions = evaluate.predict_split(model, config, "test")
    np.testing.assert_array_equal(predictions.index, np.arange(11))  # 11 rows in batches of 8: 5 rows of padding
    source = evaluate.FrameSource("pain3d/quick", "test", (), config.data.data_dir)
    np.testing.assert_array_equal(predictions.pspi_true, [source[i]["pspi"] for i in range(11)])
    np.testing.assert_array_equal(predictions.identity, [source[i]["identity"] for i in range(11)])


def test_batch_size_and_devices_change_nothing(trained):
    model, config = trained()
    by_8 = evaluate.predict_split(model, config, "test")
    config.batch_size = 3  # rounded up to the 8 devices
    by_3 = evaluate.predict_split(model, config, "test")
    config.batch_size = 16
    one = create_mesh({"data": 1, "fsdp": 1}, jax.devices()[:1])
    alone = evaluate.predict_split(on(one, model), config, "test")
    for other in (by_3, alone):
        np.testing.assert_allclose(other.pspi, by_8.pspi, atol=1e-5)
        np.testing.assert_allclose(other.attention_pcc, by_8.attention_pcc, atol=1e-4)


def on(mesh, model):
    graphdef, state = evaluate.nnx.split(model)
    return evaluate.nnx.merge(graphdef, jax.device_put(state, jax.NamedSharding(mesh, jax.P())))


def test_repeated_validation_compiles_once(trained):
    model, config = trained(width=24)
    evaluate.predict_split(model, config, "test")
    compiled = evaluate._predict_batch._cache_size()
    for _ in range(2):
        again = evaluate.nnx.merge(*evaluate.nnx.split(model))  # as the train loop rebuilds it from its state
        evaluate.predict_split(again, config, "validation")
    assert evaluate._predict_batch._cache_size() == compiled


def test_the_neutral_reference_is_used_only_when_asked_for(trained):
    model, config = trained()
    with_neutral = evaluate.predict_split(model, config, "test")
    without = evaluate.predict_split(model, config, "test", neutral=False)
    assert np.abs(with_neutral.pspi - without.pspi).max() > 1e-4


def test_predictions_stay_on_the_scale(trained):
    model, config = trained()
    model.pspi_head.score.bias[...] = np.array([3.0])  # 16 * (0.5 + 3): far beyond the scale
    model.au_head.bias[...] = np.array([-50.0, 50.0, 0.0, 0.0, 0.0, 50.0])  # logits
    predictions = evaluate.predict_split(model, config, "test")
    assert (predictions.pspi == 16).all()
    np.testing.assert_allclose(predictions.aus[:, 0], 0, atol=1e-6)
    np.testing.assert_allclose(predictions.aus[:, [1, 5]], np.broadcast_to(np.array(AU_MAX)[[1, 5]], (11, 2)))


def test_evaluation_file(trained, tmp_path):
    _, config = trained()
    evaluation = evaluate.main(tmp_path, "test")
    assert evaluation == json.loads((tmp_path / "evaluation.json").read_text())
    assert evaluation["split"] == "test" and evaluation["n"] == 11 and evaluation["step"] == 7
    assert evaluation["headline"] == "with_neutral" and set(evaluation["protocols"]) == {
        "with_neutral",
        "without_neutral",
    }
    assert evaluation["pspi"] == evaluation["protocols"]["with_neutral"]["pspi"]
    assert evaluation["pspi"] != evaluation["protocols"]["without_neutral"]["pspi"]
    train = evaluate.labels(config, "train")[0]
    test = evaluate.labels(config, "test")[0]
    constant = evaluation["baselines"]["constant"]
    assert constant["value"] == np.median(train)
    assert constant["mae"] == pytest.approx(np.abs(test - np.median(train)).mean())
    assert evaluation["aus"]["AU43"]["prevalence"] == pytest.approx(
        (evaluate.labels(config, "test")[1][:, 5] > 0).mean()
    )
    stored = evaluate.Predictions.load(tmp_path / "predictions_test.npz")
    assert np.abs(stored.pspi - stored.pspi_true).mean() == pytest.approx(evaluation["pspi"]["mae"], rel=1e-5)


def test_a_model_without_neutral_has_one_protocol(trained, tmp_path):
    trained(neutral="none")
    evaluation = evaluate.main(tmp_path, "validation")
    assert evaluation["headline"] == "without_neutral" and list(evaluation["protocols"]) == ["without_neutral"]


def test_a_missing_split_is_named(trained, tmp_path):
    trained()
    with pytest.raises(UserError, match="no split 'tset'"):
        evaluate.main(tmp_path, "tset")
    assert not list(tmp_path.iterdir())


def test_each_split_has_a_file_and_another_data_set_does_not_take_its_place(trained, tmp_path, data_dir):
    _, config = trained()
    test, validation = (evaluate.main(tmp_path, split) for split in ("test", "validation"))
    assert test != validation and test["data_set"]["version"] == "1.0.0"
    for split, found in (("test", test), ("validation", validation)):
        assert json.loads((tmp_path / f"evaluation_{split}.json").read_text()) == found
        assert evaluate.read_evaluation(tmp_path, split, "pain3d/quick") == found
    assert evaluate.read_evaluation(tmp_path, "train", "pain3d/quick") is None
    (tmp_path / "config.json").write_text(config.to_json())
    assert evaluate.file_of(tmp_path, test).name == "evaluation_test.json"
    (tmp_path / "evaluation_validation.json").unlink()  # as an earlier version left it: the last one only
    assert evaluate.read_evaluation(tmp_path, "validation", "pain3d/quick") == validation
    shutil.copytree(data_dir / "pain3d/quick", tmp_path / "data/pain3d/other")
    other = evaluate.main(tmp_path, "test", data_name="pain3d/other", data_dir=str(tmp_path / "data"))
    assert other["data_set"]["name"] == "pain3d/other" and other["pspi"] == test["pspi"]
    assert evaluate.file_of(tmp_path, other).name == "evaluation_pain3d_other_test.json"
    assert other == json.loads(evaluate.file_of(tmp_path, other).read_text())
    assert evaluate.read_evaluation(tmp_path, None, "pain3d/quick") == validation
    (tmp_path / "evaluation.json").write_text(json.dumps(other))  # as an earlier version did
    assert evaluate.read_evaluation(tmp_path, None, "pain3d/quick") is None
    assert evaluate.read_evaluation(tmp_path, "test", "pain3d/quick") == test


def test_a_data_set_that_has_changed_is_refused_unless_it_is_named(trained, tmp_path, data_dir):
    _, config = trained()
    data_set = dataset_version("pain3d/quick", str(data_dir))
    start = {"step": 0, "data_set": data_set | {"version": "0.9.0", "fingerprint": "f" * 16}}
    (tmp_path / "starts.jsonl").write_text(json.dumps(start) + "\n")
    with pytest.raises(
        UserError, match=r"version 0.9.0 \(f+\) of pain3d/quick.*version 1.0.0.*--data_name=pain3d/quick"
    ):
        evaluate.main(tmp_path, "test")
    assert evaluate.main(tmp_path, "test", data_name="pain3d/quick")["n"] == 11
    (tmp_path / "starts.jsonl").write_text(json.dumps(start | {"data_set": data_set}) + "\n")
    assert evaluate.main(tmp_path, "test")["n"] == 11
