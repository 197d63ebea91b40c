"""Each process of a local job gets devices of its own, said in the variables that JAX reads."""

import pytest

from painjax.errors import UserError
from painjax.launch.devices import device_variables, platform, visible_gpus

CPU = {"JAX_PLATFORMS": "cpu"}


def gpus(names):
    return {"JAX_PLATFORMS": "cuda", "CUDA_VISIBLE_DEVICES": names}


def test_cpu_processes_get_virtual_devices_and_keep_other_flags():
    before = "--xla_force_host_platform_device_count=8 --xla_dump_to=x"
    (first, second) = device_variables(2, 4, CPU | {"XLA_FLAGS": before})
    assert first == second
    assert first["XLA_FLAGS"].split() == ["--xla_dump_to=x", "--xla_force_host_platform_device_count=4"]
    assert first["JAX_PLATFORMS"] == "cpu"


def test_gpus_are_dealt_out_without_overlap():
    variables = device_variables(2, 2, gpus("0,1,2,3"))
    assert [each["CUDA_VISIBLE_DEVICES"] for each in variables] == ["0,1", "2,3"]
    assert [each["CUDA_VISIBLE_DEVICES"] for each in device_variables(2, 1, gpus("5,7,6"))] == ["5", "7"]


@pytest.mark.parametrize(
    ("processes", "devices", "environment", "message"),
    [
        (0, 1, CPU, "--processes is 0; expected at least 1"),
        (-2, 1, CPU, "--processes is -2"),
        (2, 0, CPU, "--devices-per-process is 0"),
        (1000, 1, CPU, "--processes is 1000; expected at most"),
        (3, 1, gpus("0,1"), "need 3 GPUs, and there are 2 .0,1."),
        (2, 4, gpus("0,1"), "need 8 GPUs"),
        (1, 1, gpus(""), "there are 0. Ask for fewer, or set JAX_PLATFORMS=cpu"),
        (2, 1, {"JAX_PLATFORMS": "tpu"}, "belong to one process"),
    ],
)
def test_impossible_numbers_are_refused(processes, devices, environment, message):
    with pytest.raises(UserError, match=message):
        device_variables(processes, devices, environment)


def test_gpus_are_those_that_nvidia_smi_lists_unless_some_are_chosen(tmp_path, monkeypatch):
    (tmp_path / "nvidia-smi").write_text(
        "#!/bin/sh\necho 'GPU 0: A (UUID: x)'; echo '  MIG'; echo 'GPU 1: A (UUID: y)'\n"
    )
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert visible_gpus({"PATH": str(tmp_path)}) == ["0", "1"]
    assert visible_gpus({"PATH": str(tmp_path), "CUDA_VISIBLE_DEVICES": "1"}) == ["1"]
    assert visible_gpus({"PATH": str(tmp_path / "nowhere")}) == []


def test_the_platform_is_the_one_asked_for_first():
    assert platform({"JAX_PLATFORMS": "cuda,cpu"}) == "gpu"
    assert platform({"JAX_PLATFORMS": "cpu"}) == "cpu"
    assert platform({"CUDA_VISIBLE_DEVICES": ""}) == "cpu"
