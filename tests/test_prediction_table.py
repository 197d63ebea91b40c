"""The table read back by independent readers, and that half a table is never seen."""

import csv
import math
import sys

import numpy as np
import pytest

from painjax.errors import UserError
from painjax.prediction_table import COLUMNS, PredictionTable

HEADER = (
    "image,frame,time_s,pspi,pspi_std,pspi_from_aus,AU4,AU6,AU7,AU9,AU10,AU43,"
    "p_pspi_ge_1,p_pspi_ge_2,p_pspi_ge_3,warnings"
)
ROW = {
    "image": 'a "quoted", föhn.png', "frame": 3, "time_s": 0.12, "pspi": 1.25, "pspi_std": 0.5, "pspi_from_aus": 1.5,
    "AU4": 1.0, "AU6": 0.1, "AU7": 0.2, "AU9": 0.0, "AU10": 0.0, "AU43": 0.3,
    "p_pspi_ge_1": 0.9, "p_pspi_ge_2": 0.2, "p_pspi_ge_3": 0.1, "warnings": "small | not square",
}  # fmt: skip


def test_csv_has_the_documented_columns(tmp_path):
    with PredictionTable(tmp_path / "t.csv") as table:
        table.append(ROW)
        table.append({"image": "b.png", "pspi": np.float32(0.1), "pspi_std": None, "AU4": math.nan})
    text = (tmp_path / "t.csv").read_text(encoding="utf-8")
    assert text.splitlines()[0] == HEADER == ",".join(COLUMNS)
    first, second = csv.DictReader(text.splitlines())
    assert first["image"] == 'a "quoted", föhn.png' and first["frame"] == "3" and float(first["time_s"]) == 0.12
    assert first["AU6"] == "0.1"  # a float32 as people write it, not 0.10000000149
    assert second == {name: {"image": "b.png", "pspi": "0.1"}.get(name, "") for name in COLUMNS}


def test_parquet_says_the_same_with_types(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    with PredictionTable(tmp_path / "t.parquet") as table:
        table.append(ROW)
        table.append({"image": "b.png", "pspi": np.float32(0.1), "pspi_std": None, "AU4": math.nan})
    found = parquet.read_table(tmp_path / "t.parquet")
    assert found.column_names == list(COLUMNS)
    types = {field.name: str(field.type) for field in found.schema}
    assert (types["image"], types["frame"], types["time_s"], types["pspi"]) == ("string", "int64", "double", "float")
    first, second = found.to_pylist()
    assert first == {name: np.float32(v) if COLUMNS[name] is np.float32 else v for name, v in ROW.items()}
    assert second == {name: {"image": "b.png", "pspi": np.float32(0.1)}.get(name) for name in COLUMNS}


def test_parquet_keeps_every_row_of_a_long_table(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    with PredictionTable(tmp_path / "t.parquet") as table:
        for i in range(10_000):
            table.append({"image": "v.mp4", "frame": i})
    found = parquet.ParquetFile(tmp_path / "t.parquet")
    assert found.read()["frame"].to_pylist() == list(range(10_000))
    assert found.num_row_groups > 1  # written as it came, not held until the end


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_a_table_appears_whole_or_not_at_all(tmp_path, name):
    (tmp_path / name).write_text("the one before")
    with pytest.raises(KeyboardInterrupt):
        with PredictionTable(tmp_path / name) as table:
            table.append(ROW)
            raise KeyboardInterrupt
    assert (tmp_path / name).read_text() == "the one before"
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_folders_are_made(tmp_path):
    with PredictionTable(tmp_path / "new" / "t.CSV"):
        pass
    assert (tmp_path / "new" / "t.CSV").read_text() == HEADER + "\n"


def test_what_cannot_be_written_is_refused(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="t.xlsx.*csv or .parquet"):
        PredictionTable(tmp_path / "t.xlsx")
    with PredictionTable(tmp_path / "t.csv") as table, pytest.raises(ValueError, match="no column .'AU5'"):
        table.append({"AU5": 1.0})
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"pip install 'painjax\[parquet\]'"):
        PredictionTable(tmp_path / "t.parquet")
