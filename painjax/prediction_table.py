"""Predictions as a table for a spreadsheet or data frame: CSV, or Parquet (`pip install 'painjax[parquet]'`).

One row per picture or video frame, written as they come, under a temporary name until all are there. The columns are
always these, in this order; what a model does not tell, or could not tell of a row, is left empty:

| column | type | meaning |
|---|---|---|
| `image` | text | path of the picture or video |
| `frame` | integer | frame of a video, counted from 0; empty for a picture |
| `time_s` | float64 | its time in seconds from the start of the video; empty for a picture |
| `pspi` | float32 | PSPI, 0..16 |
| `pspi_std` | float32 | standard deviation of `pspi` that the model expects, for models with uncertainty |
| `pspi_from_aus` | float32 | PSPI by its formula from the action units of this row |
| `AU4` `AU6` `AU7` `AU9` `AU10` `AU43` | float32 | intensities 0..5; AU43 0..1 |
| `p_pspi_ge_1` `p_pspi_ge_2` `p_pspi_ge_3` | float32 | probability that PSPI is at least 1, 2, 3 |
| `warnings` | text | what to know of this row, sentences joined by ` | ` |
"""

import csv
import math
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from painjax.errors import UserError
from painjax.pspi import AU_NAMES, PSPI_THRESHOLDS

COLUMNS: dict[str, type] = {
    "image": str,
    "frame": int,
    "time_s": float,
    **{name: np.float32 for name in ("pspi", "pspi_std", "pspi_from_aus", *AU_NAMES)},
    **{f"p_pspi_ge_{k}": np.float32 for k in PSPI_THRESHOLDS},
    "warnings": str,
}
SUFFIXES = (".csv", ".parquet")
_ROW_GROUP = 4096  # rows that Parquet keeps in memory


class PredictionTable:
    """Writes rows to `path`, which appears when the `with` block ends well; a table that was there is replaced.

    Raises:
      UserError: if the suffix of `path` is neither .csv nor .parquet, or Parquet is wanted and pyarrow is missing.
    """

    def __init__(self, path: str | os.PathLike):
        self._path = Path(path)
        if self._path.suffix.lower() not in SUFFIXES:
            raise UserError(f"--table={path}: expected a file that ends in {' or '.join(SUFFIXES)}.")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._partial = self._path.with_name(f".{self._path.name}.partial")
        self._writer = (_Csv if self._path.suffix.lower() == ".csv" else _Parquet)(self._partial)

    def append(self, row: Mapping[str, Any]) -> None:
        """Adds one row; columns that it lacks, None and NaN become empty.

        Raises:
          ValueError: if it has a column that the table has not.
        """
        if unknown := set(row) - set(COLUMNS):
            raise ValueError(f"The table has no column {sorted(unknown)}; expected {list(COLUMNS)}.")
        self._writer.append({name: _value(row.get(name), kind) for name, kind in COLUMNS.items()})

    def __enter__(self) -> "PredictionTable":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self._writer.close()
            if kind is None:
                self._partial.replace(self._path)
        finally:
            self._partial.unlink(missing_ok=True)


class _Csv:
    def __init__(self, path: Path):
        self._file = path.open("w", newline="", encoding="utf-8")
        self._rows = csv.writer(self._file, lineterminator="\n")
        self._rows.writerow(COLUMNS)

    def append(self, row: dict[str, Any]) -> None:
        # str of a float32 is the shortest text that reads back as the same number.
        self._rows.writerow("" if value is None else str(value) for value in row.values())

    def close(self) -> None:
        self._file.close()


class _Parquet:
    def __init__(self, path: Path):
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError as error:
            raise UserError(
                "A Parquet table needs pyarrow; install it with: pip install 'painjax[parquet]', or write a .csv file."
            ) from error
        types = {str: pyarrow.string(), int: pyarrow.int64(), float: pyarrow.float64(), np.float32: pyarrow.float32()}
        self._table = pyarrow.Table
        self._schema = pyarrow.schema([(name, types[kind]) for name, kind in COLUMNS.items()])
        self._writer = pyarrow.parquet.ParquetWriter(path, self._schema)
        self._rows: list[dict[str, Any]] = []

    def append(self, row: dict[str, Any]) -> None:
        self._rows.append(row)
        if len(self._rows) == _ROW_GROUP:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(self._table.from_pylist(self._rows, schema=self._schema))
            self._rows = []


def _value(value: Any, kind: type) -> Any:
    if value is None or (kind is not str and math.isnan(value)):
        return None
    return kind(value)
