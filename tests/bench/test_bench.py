"""The commands, run for real at a tiny size."""

import json

import jax
import pytest

from painjax.bench import infer, train
from painjax.bench.case import Case, make_case
from painjax.bench.rounds import alternate, spread
from painjax.errors import UserError

TINY = {"size": "tiny", "image_size": 32, "batch_size": 2, "rounds": 2, "seconds": 0.01}


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # of the child


def check(result: dict) -> None:
    json.dumps(result, allow_nan=False)
    rounds = result["rounds"]
    assert result["images_per_second"] == rounds["ours"]["median"] > 0
    assert result["torch_images_per_second"] == rounds["torch"]["median"] > 0
    assert result["ratio"] == pytest.approx(result["images_per_second"] / result["torch_images_per_second"])
    assert all(len(side["rounds"]) == 2 and side["min"] <= side["median"] <= side["max"] for side in rounds.values())
    assert result["gflops"] == pytest.approx(result["images_per_second"] * result["gflop_per_image"])
    assert result["gemm_gflops"] > 0 and result["torch_gemm_gflops"] > 0
    assert result["parameters"] == result["torch_parameters"]
    assert result["trained_parameters"] == result["torch_trained_parameters"] < result["parameters"]
    assert result["settings"]["size"] == "tiny" and result["settings"]["lora_rank"] == 8
    assert result["settings"]["dtype"] == "float32" and result["mfu"] is None
    assert result["threads"] >= 1 and result["torch_threads"] == 1 and result["cpu"]
    assert set(result["versions"]) >= {"jax", "torch", "transformers", "peft"}


@pytest.mark.slow
def test_infer():
    result = infer.main(**TINY)
    check(result)
    assert result["command"] == "infer" and result["adapters"] == "not merged beforehand"
    assert result["ratio_enrolled"] == pytest.approx(
        result["images_per_second_enrolled"] / result["torch_images_per_second"]
    )
    # Enrolled, the neutral's pass is left out: 4 patches and 5 tokens more, 32 wide, 2 blocks, adapters of rank 8, and
    # the keys and values that the frame asks.
    block = 2 * 9 * 32 * (96 + 32 + 2 * 128) + 4 * 9 * 9 * 32 + 2 * 9 * 8 * (32 + 96 + 32 + 32)
    neutral = 2 * 4 * 768 * 32 + 2 * block + 2 * 9 * 32 * 64
    assert (result["gflop_per_image"] - result["gflop_per_image_enrolled"]) * 1e9 == pytest.approx(neutral)


@pytest.mark.slow
def test_train():
    result = train.main(**TINY)
    check(result)
    assert result["command"] == "train" and "ratio_enrolled" not in result


@pytest.mark.slow
def test_without_neutral_there_is_nobody_to_enrol_and_bfloat16_runs_on_both_sides():
    result = infer.main(**TINY | {"neutral": False, "lora_rank": 0, "dtype": "bfloat16", "rounds": 1})
    assert "ratio_enrolled" not in result and result["adapters"] == "none"
    assert result["ratio"] > 0 and result["parameters"] == result["torch_parameters"]


def test_every_wrong_setting_is_named():
    with pytest.raises(UserError) as error:
        infer.main("huge", image_size=100, batch_size=0, lora_rank=-1)
    for part in ("'huge'", "tiny, quick, ti, s, b, l", "100", "batch size is 0", "rank is -1"):
        assert part in str(error.value)
    with pytest.raises(UserError, match="matmul dtype 'bfloat16' is for dtype 'float32'"):
        Case(dtype="bfloat16", matmul_dtype="bfloat16")


def test_the_dtype_is_what_one_would_run_there(monkeypatch):
    assert make_case().dtype == "float32"
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert make_case().dtype == "bfloat16"
    assert make_case(matmul_dtype="bfloat16").dtype == "float32"
    assert make_case(dtype="float32").dtype == "float32"


def test_sides_take_turns_and_the_first_round_is_not_counted():
    calls = []

    def side(name):
        calls.append(name)
        return float(len(calls))

    rates = alternate({"a": lambda: side("a"), "b": lambda: side("b")}, 3, "test")
    assert calls == ["a", "b", "b", "a", "a", "b", "b", "a"]
    assert rates == {"a": [4.0, 5.0, 8.0], "b": [3.0, 6.0, 7.0]}
    assert spread(rates["a"]) == {"median": 5.0, "min": 4.0, "max": 8.0, "rounds": [4.0, 5.0, 8.0]}
    with pytest.raises(UserError, match="rounds is 0"):
        alternate({}, 0, "test")
