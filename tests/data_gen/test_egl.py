"""Which device a process draws on."""

import os
import types

import pytest

from data_gen import egl


def fake(names: list[str | None]):
    devices = [types.SimpleNamespace(name=name) for name in names]
    return types.SimpleNamespace(_eglQueryDevicesEXT=True, query_devices=lambda: devices)


def test_processes_spread_over_gpus_and_fall_back_to_software(monkeypatch):
    first = []
    for pid in (10, 11, 12):
        monkeypatch.setattr(os, "getpid", lambda pid=pid: pid)
        order = [device.name for device in egl._devices(fake(["gpu0", None, "gpu1"]))]
        assert sorted(order[:2]) == ["gpu0", "gpu1"] and order[2] is None
        first.append(order[0])
    assert first[0] != first[1] and first[0] == first[2]


def test_software_alone_is_enough():
    assert [device.name for device in egl._devices(fake([None]))] == [None]
    assert egl._devices(fake([])) == []


class GlError(Exception):
    def __init__(self, err, description):
        super().__init__()
        self.err, self.description = err, description


class Canvas:
    _gl = types.SimpleNamespace(Error=GlError)

    @egl.explained
    def draw(self, error):
        raise error


def test_what_fails_in_the_driver_says_what_to_do():
    with pytest.raises(RuntimeError, match="context of this renderer is lost.*same command again"):
        Canvas().draw(AssertionError())
    with pytest.raises(RuntimeError, match="out of memory.*smaller PAINJAX_WORKERS"):
        Canvas().draw(GlError(1285, "out of memory"))
    with pytest.raises(KeyError):  # what is no fault of the driver stays what it is
        Canvas().draw(KeyError("mine"))
