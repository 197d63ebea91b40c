"""The arguments of every subcommand of `painjax`, with their help."""

import argparse

import painjax


def _folder(path: str) -> str:
    if "://" in path:  # which would become a local folder called 'gs:'
        raise argparse.ArgumentTypeError(f"{path} is not a folder; mount the bucket as one, see launch/README.md")
    return path


def parser() -> argparse.ArgumentParser:
    """The parser of the command line; its result has the subcommand's name as `name`."""
    top = argparse.ArgumentParser(
        prog="painjax",
        description="Train, evaluate and use models that read pain from faces. For research: not a medical device.",
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"painjax {painjax.__version__}")
    commands = top.add_subparsers(dest="name", metavar="command", required=True)

    def command(name, help, example):
        sub = commands.add_parser(
            name, help=help, description=help, allow_abbrev=False,
            epilog=f"Example: {example}", formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        sub.add_argument("--debug", action="store_true", help="show the traceback of a mistake")
        return sub

    workdir = "folder of the training run"
    either = "folder of a training run, or of a model (painjax import)"
    distributed = (
        "one process of many: join the others (Slurm, GKE and TPU pods are recognised; elsewhere set "
        "JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID)"
    )
    one_object = "print exactly one JSON object"

    sub = command(
        "train",
        "Train an experiment; go on from its last checkpoint if there is one.",
        "painjax train --config=configs/student.py --config.teacher=runs/teacher --workdir=runs/student",
    )
    sub.add_argument("--workdir", type=_folder, metavar="W", help=f"{workdir}; needed but for --dry_run")
    sub.add_argument("--config", required=True, metavar="FILE", help="experiment; --config.key=value changes a setting")
    sub.add_argument(
        "--accept_changes", action="store_true",
        help="go on with changed settings, data set or teacher; W/starts.jsonl notes them down",
    )  # fmt: skip
    sub.add_argument("--distributed", action="store_true", help=distributed)
    sub.add_argument("--check", action="store_true", help="only say whether this host has the data set and weights")
    sub.add_argument(
        "--dry_run", action="store_true",
        help="only print parameters, memory and operations of a step, and where every parameter lies",
    )  # fmt: skip
    sub.add_argument("--devices", type=int, metavar="N", help="with --dry_run: as if there were so many")

    sub = command(
        "precompute",
        "Run a frozen teacher once over a split; students then train on what it said (config.teacher_outputs).",
        "painjax precompute --workdir=runs/teacher --to=runs/teacher_outputs",
    )
    sub.add_argument("--workdir", type=_folder, required=True, metavar="W", help=either)
    sub.add_argument("--to", type=_folder, required=True, metavar="DIR", help="folder to make")
    sub.add_argument("--split", default="train", help="split of the data set (default: train)")
    sub.add_argument("--data_name", metavar="NAME", help="data set (default: the teacher's)")
    sub.add_argument("--data_dir", metavar="DIR", help="where data sets lie (default: as the teacher was trained)")
    sub.add_argument(
        "--dtype", choices=("bfloat16", "float32"), default="bfloat16", help="of the stored tokens (default: bfloat16)"
    )
    sub.add_argument(
        "--no_flip", action="store_true",
        help="without the mirrored heatmaps: half the size, for students with data.augment.flip=0",
    )  # fmt: skip
    sub.add_argument("--batch_size", type=int, metavar="B", help="heatmaps at a time (default: as in training)")
    sub.add_argument("--distributed", action="store_true", help=distributed)

    sub = command(
        "evaluate",
        "Measure a trained model on a split; writes W/evaluation_SPLIT.json.",
        "painjax evaluate --workdir=runs/student --split=test",
    )
    sub.add_argument("--workdir", type=_folder, required=True, metavar="W", help=workdir)
    sub.add_argument("--split", default="test", help="split of the data set (default: test)")
    sub.add_argument("--data_name", metavar="NAME", help="another data set than that of the training")
    sub.add_argument("--data_dir", metavar="DIR", help="where the data set lies, if not where the training found it")
    sub.add_argument("--distributed", action="store_true", help=distributed)
    sub.add_argument("--json", action="store_true", help=one_object)

    sub = command(
        "predict",
        "Predict PSPI and action units of pictures and videos.",
        "painjax predict --workdir=runs/student --image=face.jpg --neutral=calm.jpg --output=overlays",
    )
    sub.add_argument("--workdir", required=True, metavar="W", help=either)
    sub.add_argument("--image", required=True, metavar="PATH", help="picture or video, or a folder of them")
    sub.add_argument(
        "--neutral", action="extend", nargs="+", default=[], metavar="PATH",
        help="pictures of the same person at rest, same view; encoded once",
    )  # fmt: skip
    sub.add_argument("--output", metavar="DIR", help="folder for overlay pictures of heatmap and attention")
    sub.add_argument("--table", metavar="FILE", help=".csv or .parquet file, one row per picture or frame")
    sub.add_argument(
        "--crop", default="centre",
        help="where the face is: 'centre' (the middle square; default), 'none' (the whole picture, padded), or "
        "'module:function', called with (H, W, 3) uint8, returning a box x0, y0, x1, y1 or None",
    )  # fmt: skip
    sub.add_argument("--every", type=int, default=1, metavar="N", help="of a video, every N-th frame")
    sub.add_argument("--fps", type=float, metavar="R", help="of a video, at most R frames per second")
    sub.add_argument("--batch_size", type=int, metavar="B", help="pictures at a time (default: as in training)")
    sub.add_argument("--json", action="store_true", help=one_object)

    sub = command(
        "report",
        "Write W/report.html: numbers, pictures and plots in one self-contained file.",
        "painjax report --workdir=runs/student --compare runs/teacher runs/student_supervised",
    )
    sub.add_argument("--workdir", type=_folder, required=True, metavar="W", help=workdir)
    sub.add_argument(
        "--compare", action="extend", nargs="+", default=[], metavar="W", help="other runs to set beside it"
    )
    sub.add_argument("--split", default="test", help="split of the data set (default: test)")

    sub = command(
        "import",
        "Read public weights (timm, Hugging Face, the authors' ViTPain) and write a model folder.",
        "painjax import --from=facebook/dinov3-vits16-pretrain-lvd1689m --to=models/dinov3_s",
    )
    sub.add_argument("--from", dest="source", required=True, metavar="FILE|ID", help="file, folder, or id on the hub")
    sub.add_argument("--to", required=True, metavar="DIR", help="model folder to make")
    sub.add_argument("--revision", help="branch, tag or commit on the hub; the commit is recorded")
    sub.add_argument("--file", help="which file, where there are several")
    sub.add_argument("--heads", type=int, help="attention heads, where nothing beside the weights tells")
    sub.add_argument("--offline", action="store_true", help="take only what is already in the hub's cache")

    sub = command(
        "export",
        "Write a trained model for others to use, with a model card.",
        "painjax export --from=runs/student --to=exported --format=stablehlo",
    )
    sub.add_argument("--from", dest="source", required=True, metavar="W", help=either)
    sub.add_argument("--to", required=True, metavar="DIR", help="folder to make")
    sub.add_argument(
        "--format", required=True, choices=("safetensors", "hf", "official", "stablehlo", "onnx"),
        help="safetensors: a model folder, adapters merged; hf: the encoder for transformers; official: the authors' "
        "checkpoint; stablehlo: runs with jax alone; onnx",
    )  # fmt: skip

    sub = command(
        "bench",
        "Measure images per second, beside PyTorch doing the same, taking turns.",
        "painjax bench infer --size=s --image_size=224 --batch_size=8",
    )
    _benches(sub, one_object)

    sub = command(
        "aot",
        "Compile the train step for a TPU slice, without one: memory, collectives, estimated time and scaling.",
        "painjax aot --topology=v5e:16x16 --config=configs/student_vitl.py",
    )
    sub.add_argument("--topology", required=True, metavar="NAME", help="v5e:4x4, or by its number of chips: v5e-16")
    sub.add_argument("--config", required=True, metavar="FILE", help="experiment; --config.key=value changes a setting")
    sub.add_argument("--teacher", metavar="FILE", help="its teacher's (default: a teacher with the student's sizes)")
    sub.add_argument(
        "--batch_per_device", type=int, metavar="B",
        help="examples per chip (default: 128, or those of --config.batch_size where it is given)",
    )  # fmt: skip
    sub.add_argument("--json", action="store_true", help=one_object)

    sub = command(
        "launch",
        "Run train or evaluate in several processes of this machine, as on several hosts.",
        "painjax launch local --processes=2 -- train --config=configs/teacher.py --workdir=runs/teacher",
    )
    sub.usage = "painjax launch local --processes N [--devices-per-process N] [--port P] -- train|evaluate ..."
    sub.add_argument("where", choices=("local",), help="on this machine; for clusters see launch/README.md")
    sub.add_argument("--processes", type=int, required=True, metavar="N", help="how many processes")
    sub.add_argument(
        "--devices-per-process", type=int, default=1, metavar="N",
        help="virtual CPU devices, or GPUs where there are, of each (default: 1)",
    )  # fmt: skip
    sub.add_argument("--port", type=int, metavar="P", help="of the coordinator (default: a free one)")

    # `generator.command_of` has found it before, unless something stands in front of it.
    commands.add_parser("gallery", help="Draw contact sheets of what a configuration of the data set generates.")
    commands.add_parser(
        "generate", help="Write a shard of the data set on this machine, merge shards, or paint portraits."
    )
    commands.add_parser("cache", help="List, verify or prune the portraits and backdrops that were painted.")

    sub = command(
        "doctor",
        "Look at what is installed and what this machine offers; says how to mend what is missing.",
        "painjax doctor",
    )
    sub.add_argument("--data_dir", metavar="DIR", help="where data sets lie (default: TFDS_DATA_DIR)")
    sub.add_argument("--json", action="store_true", help="print exactly one JSON array")
    return top


def _benches(bench: argparse.ArgumentParser, one_object: str) -> None:
    """Each measurement with the options that it takes; its result has the measurement's name as `what`."""
    measurements = bench.add_subparsers(dest="what", metavar="what", required=True)
    # Where there is another default, the one of here would undo `painjax bench --debug infer`.
    debug = {"action": "store_true", "default": argparse.SUPPRESS, "help": "show the traceback of a mistake"}
    about = {
        "infer": "predicting",
        "train": "whole training steps",
        "teacher": "a student's steps with its teacher in them, with outputs of `painjax precompute`, and without; no "
        "PyTorch",
        "host": "what the host does for a step, at the structure of --config; no PyTorch",
        "input": "what feeds the training of --config; no PyTorch",
    }
    each = {name: measurements.add_parser(name, help=text, allow_abbrev=False) for name, text in about.items()}
    # `generator.command_of` finds these two.
    measurements.add_parser("generate", help="the generator; has options of its own")
    measurements.add_parser("paint", help="the generator's diffusion models, and GPU-hours; has options of its own")
    for name, sub in each.items():
        sub.add_argument("--debug", **debug)
        sub.add_argument("--json", action="store_true", help=one_object)
        if name != "host":
            sub.add_argument("--rounds", type=int, default=5, metavar="N", help="turns of each side (default: 5)")
    for name in ("host", "input"):
        each[name].add_argument(
            "--config", default="configs/student_vitl.py", metavar="FILE",
            help="experiment (default: configs/student_vitl.py); --config.key=value changes a setting",
        )  # fmt: skip
    for name in ("infer", "train", "teacher"):
        sub = each[name]
        sub.add_argument(
            "--size", default="s", help="of the encoder: ti, s, b, l, ..., or quick, that of configs/ (default: s)"
        )
        sub.add_argument("--image_size", type=int, default=224, metavar="S", help="side in pixels (default: 224)")
        sub.add_argument("--batch_size", type=int, default=8, metavar="B", help="default: 8")
        sub.add_argument("--dtype", choices=("float32", "bfloat16"), help="default: float32 on CPU, bfloat16 elsewhere")
        sub.add_argument(
            "--matmul_dtype", default="float32", choices=("float32", "bfloat16"),
            help="bfloat16: products of float32 arrays with rounded operands, on both sides (default: float32)",
        )  # fmt: skip
        sub.add_argument("--no_neutral", action="store_true", help="without neutral reference")
    each["teacher"].add_argument("--teacher_size", metavar="SIZE", help="default: that of the student")
    for name in ("infer", "train"):
        each[name].add_argument(
            "--lora_rank", type=int, default=8, metavar="R", help="0: none, everything trains (default: 8)"
        )
