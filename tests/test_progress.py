import io
import os
import sys

import pytest

from painjax.progress import Progress

NUMBERS = {
    **{"aus": 0.476, "consistency": 0.0818, "gradient_norm": 0.438, "loss": 0.63983, "parameter_norm": 32.8},
    **{"pspi": 0.0445, "thresholds": 1.11, "learning_rate": 1e-3},
    **{"images_per_s": 4513.2, "examples_per_s_per_device": 564.15, "mfu": 0.4312, "data_wait": 0.003, "eta_s": 4353.0},
}


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown(monkeypatch, columns):
    """What stands on the screen in the end, in a terminal of so many columns."""
    monkeypatch.setattr(sys, "stderr", screen := Terminal())
    monkeypatch.setattr("shutil.get_terminal_size", lambda fallback=None: os.terminal_size((columns, 24)))
    with Progress("student", 100, 400) as progress:
        for _ in range(20):
            progress.advance()
        progress.show(120, NUMBERS)
        progress.advance()
    return screen.getvalue().rstrip("\n").split("\r")[-1].rstrip()


def test_a_terminal_shows_what_fits_the_most_wanted_first(monkeypatch):
    start = "student 121/400, 1:12:33 left, loss 0.6398, 4513 images/s, 564.1/device"
    assert shown(monkeypatch, 80) == start
    assert shown(monkeypatch, 120) == f"{start}, data 0.3%, MFU 43.1%, aus 0.476"
    assert shown(monkeypatch, 300) == (
        f"{start}, data 0.3%, MFU 43.1%, aus 0.476, consistency 0.0818, gradient_norm 0.438, parameter_norm 32.8, "
        "pspi 0.0445, thresholds 1.11"
    )


@pytest.mark.parametrize("columns", range(20, 200, 7))
def test_no_line_is_wider_than_the_terminal_nor_cut_in_a_number(monkeypatch, columns):
    line, whole = shown(monkeypatch, columns), shown(monkeypatch, 300)
    assert len(line) < columns
    assert whole.startswith(line) and whole[len(line) :][:1] in (",", "")


def test_a_file_gets_a_line_per_reading_and_no_bar(monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setattr(sys, "stderr", file := io.StringIO())
    with Progress("student", 0, 400) as progress:
        progress.advance()
        progress.show(1, NUMBERS | {"mfu": None, "eta_s": 59.0})
    assert file.getvalue() == ""
    (line,) = caplog.messages
    assert line.startswith("student 1/400, 0:59 left, loss 0.6398, ") and line.endswith("thresholds 1.11")
    assert "MFU" not in line
