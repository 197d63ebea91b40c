"""`painjax bench paint`: real paintings are timed, and hours follow from them and from operations."""

import json
import sys

import pytest

from data_gen import variants
from data_gen.diffusion import benchmark
from painjax import chips
from painjax.__main__ import main
from tests.data_gen.diffusion import tiny_models

pytestmark = pytest.mark.usefixtures("quiet")


def test_own_models_are_timed(tmp_path, capsys):
    model, controlnet = tiny_models.write(tmp_path, "sd")
    own = [f"--model={model}", f"--controlnet={controlnet}", "--size=64", "--steps=2", "--batch=2", "--rounds=1"]
    assert main(["bench", "paint", *own, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["portraits_per_second"] > 0 and result["backdrops_per_second"] > 0
    assert result["batch"] == {"portrait": 2, "backdrop": 2} and result["pictures"]["backdrop"] == 90_000
    assert (result["device"], result["precision"]) == ("cpu", "float32")
    assert (result["steps"], result["steps_timed"]) == (30, 2)
    hours = result["gpu_hours_full"]["measured"]
    # thirty steps take more than two, but not fifteen times as much: the rest of the painting stays
    assert 1 < hours["full_diffusion"] * 3600 / 2500 * result["portraits_per_second"] < 15
    assert hours["full_backdrop"] > hours["full_diffusion"]
    assert main(["bench", "paint", *own]) == 0
    assert "measured" in capsys.readouterr().out


def test_hours_are_operations_by_two_fifths_of_the_peak(capsys):
    assert main(["bench", "paint", "--family=sd", "--rounds=0", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["portraits_per_second"] is None and result["gpu_hours_full"]["measured"] is None
    assert result["pictures"] == {"portrait": 2500, "backdrop": 90_000, "side_view": 5004}
    portraits, backdrops = result["flops_per_portrait"], result["flops_per_backdrop"]
    # UNet and ControlNet of 0.80 and 0.28 TFLOP, twice at each of 30 steps, of which the backdrops take 24
    assert portraits == pytest.approx(30 * 2 * (0.803e12 + 0.283e12), rel=0.05)
    assert backdrops == pytest.approx(24 * 2 * (0.803e12 + 0.283e12), rel=0.1)
    for chip, name in (("H200", "H200"), ("A100", "A100 80GB"), ("L4", "L4")):
        (peak,) = (each.bfloat16_flops for each in chips.CHIPS if each.name == name)
        assert result["gpu_hours_full"]["estimated"][chip] == pytest.approx(
            {
                "full_diffusion": 2500 * portraits / (0.4 * peak) / 3600,
                "full_backdrop": (2500 * portraits + 90_000 * backdrops) / (0.4 * peak) / 3600,
                "side_views": 5004 * backdrops / (0.4 * peak) / 3600,
            }
        )


def test_pictures_of_the_full_data_set():
    """Each person's 33 frames and the neutral references of the three neutral ones, in whole batches."""
    assert variants.VARIANTS["full_backdrop"].frames == 82_500
    one = benchmark.full_pictures({"portrait": 1, "backdrop": 1})
    assert one == {"portrait": 2500, "backdrop": 2500 * 36, "side_view": 5000}
    assert benchmark.full_pictures({"portrait": 8, "backdrop": 10}) == {
        "portrait": 2504, "backdrop": 2500 * 40, "side_view": 5000
    }  # fmt: skip


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--model=somewhere"], "--model and --controlnet together"),
        (["--model=a", "--controlnet=b", "--family=sdxl"], "give one of both"),
        (["--size=0"], "size is 0; expected"),
        (["--rounds=-1"], "rounds is -1; expected 0 or more"),
        (["--steps=1"], "strength is 0.8 of 1 steps"),
        (["--batch=0"], "diffusion.backdrop.batch is 0"),
        (["--size=100"], "size is 100; expected a multiple of 64"),
    ],
)
def test_nonsense_is_refused(arguments, said, capsys):
    assert main(["bench", "paint", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_without_the_extra(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    assert main(["bench", "paint", "--rounds=0"]) == 2
    assert "needs diffusers: pip install 'painjax[diffusion]'" in capsys.readouterr().err
