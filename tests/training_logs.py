"""What TensorBoard and Weights & Biases find in the logs of a training."""

import json


def tensorboard_shows(workdir):
    """{tag: [(step, value), ...]}, read by TensorBoard."""
    from tensorboard.backend.event_processing import event_accumulator as accumulator

    events = accumulator.EventAccumulator(str(workdir / "tensorboard"))
    events.Reload()
    return {
        tag: [(event.step, round(event.value, 6)) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]
    }


def wandb_holds(workdir):
    """Of every start that logged offline, in order: the run, its configuration, axis and rows, and its exit status.

    This is what `wandb sync` would send.
    """
    return [_start(path) for path in sorted(workdir.glob("wandb/offline-run-*/*.wandb"))]


def _start(path):
    start = {"config": {}, "rows": [], "axes": {}, "exit": None}
    for record in _records(path.read_bytes()):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            start |= {"id": record.run.run_id, "project": record.run.project, "name": record.run.display_name}
            start["config"] |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
        elif kind == "metric":
            start["axes"][record.metric.glob_name or record.metric.name] = record.metric.step_metric
        elif kind == "history":
            row = {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item}
            start["rows"].append({name: value for name, value in row.items() if not name.startswith("_")})
        elif kind == "exit":
            start["exit"] = record.exit.exit_code
    return start


def _records(data, block=32768, header=7):
    """The package has no reader of its own: its files are LevelDB logs of protocol buffers.

    Blocks of 32 KiB hold pieces of records, each after a header of checksum (4 bytes), size (2) and kind (1): 1 a whole
    record, 2, 3 and 4 its first, middle and last piece. The first 7 bytes are the file's own.
    """
    from wandb.proto.wandb_internal_pb2 import Record

    assert data.startswith(b":W&B")
    at, record = header, b""
    while at + header <= len(data):
        if block - at % block < header:  # padding
            at += block - at % block
            continue
        size, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        record += data[at + header : at + header + size]
        at += header + size
        if kind in (1, 4):
            yield Record.FromString(record)
            record = b""
