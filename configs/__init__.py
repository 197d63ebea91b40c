"""Experiments: one file each, plain ml-collections, started as `python -m painjax train --config=configs/<name>.py`."""
