"""`painjax generate`: a data set that several machines make, each a shard of it, without TensorFlow.

painjax generate --config=full --data_dir=DIR --shard=3/8    on each machine, or in each task of an array job
painjax generate --config=full --data_dir=DIR --merge        once, when the shards lie in one folder
painjax generate --config=full_diffusion --portraits         before, on a machine with a GPU: the others then need none;
                                                             with --config=full_backdrop, backdrops too

Merging alone needs TFDS; nothing needs TensorFlow. A shard that was killed goes on when the same command is run again.
Machines without a common disk: copy the files of DIR/pain3d/CONFIG/shards into one such folder before merging.
Portraits and backdrops are found where PAINJAX_CACHE and HF_HOME are folders that all machines see; with
HF_HUB_OFFLINE=1 those that draw mean the models' commits that painted.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from data_gen import generate
from data_gen.diffusion import album, cache, room
from data_gen.shards import Shard
from data_gen.variants import VARIANTS
from tfds_builders.pain3d import shards
from tfds_builders.pain3d.target import Target


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="painjax generate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", required=True, choices=VARIANTS, metavar="NAME", help="%(choices)s")
    parser.add_argument("--data_dir", metavar="DIR", help="default: TFDS's, ~/tensorflow_datasets")
    parser.add_argument("--manual_dir", metavar="DIR", help="where ICT-FaceKit is, for `_ict` without internet")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--shard", metavar="i/n", help="write shard i of n, 0 <= i < n")
    what.add_argument("--merge", action="store_true", help="make the data set of the shards that are there")
    what.add_argument(
        "--portraits", metavar="i/n", nargs="?", const="0/1",
        help="paint the portraits, and backdrops, that the cache lacks, of all people or of shard i of n; draw nothing",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    target = Target.named(options.config, options.data_dir)
    if options.portraits is not None:
        sys.stdout.write(f"{_paint(target, Shard.parse(options.portraits), options.manual_dir)}\n")
    elif (target.built / "dataset_info.json").exists():
        sys.stdout.write(f"{target.built} is built already.\n")
    elif options.merge:
        sys.stdout.write(f"{_merge(target)} is built.\n")
    else:
        sys.stdout.write(f"Written: {shards.write(target, Shard.parse(options.shard), options.manual_dir)}\n")


def _merge(target: Target) -> Path:
    try:
        from tfds_builders.pain3d import merge
        from tfds_builders.pain3d.pain3d_dataset_builder import Builder
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"Merging shards needs {error.name}: pip install tensorflow-datasets importlib_resources", name=error.name
        ) from error
    return merge.merge(Builder(config=target.name, data_dir=target.data_dir))


def _paint(target: Target, shard: Shard, manual_dir: str | None) -> str:
    if target.generator.diffusion is None:
        raise ValueError(
            f"--config={target.name} has no portraits; expected one with the suffix _diffusion or _backdrop."
        )
    people = shard.identities(target.identities)
    generator, _ = shards.prepare(target, manual_dir)
    room.check(generator, people)
    generate.with_portraits(generator, people)
    kept = f"The portraits of {len(people)} people are in {cache.folder()}"
    return f"{kept}, their backdrops in {album.folder()}" if target.generator.diffusion.backdrop else kept
