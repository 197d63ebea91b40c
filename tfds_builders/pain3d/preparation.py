"""What must be there before anything is drawn: the files of the face models, and the commits of diffusion models."""

import dataclasses
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from data_gen.diffusion import sources
from data_gen.face_models import flame, flame_file, ict_convert
from data_gen.face_models.ict import IctFace
from data_gen.generator_config import GeneratorConfig
from data_gen.record import GENERATOR_VERSION
from data_gen.scene import CELLS

Download = Callable[[Mapping[str, str]], Mapping[str, Path]]  # URLs by name -> files by name


def prepare(
    identities: int, generator: GeneratorConfig, manual_dir: Path | None, download: Download
) -> tuple[GeneratorConfig, dict[str, Any]]:
    """Gets the files that the faces need, and says what will be drawn.

    Args:
      identities: how many people there will be.
      generator: the settings.
      manual_dir: folder in which ICT-FaceKit may lie.
      download: gets its files where they are nowhere on this machine.

    Returns:
      The generator's settings, models pinned; and all that shapes an example, fit for JSON.
    """
    report_balance(identities)
    if generator.face_model == "flame":
        flame_file.read(flame_file.find_file())  # says what is wrong with it, before anything is downloaded
    files = []
    if generator.face_model in ("ict", "flame"):  # FLAME's expressions are those of ICT
        _prepare_ict(manual_dir, download)
        files.append(ict_convert.newest_cache().name)
    if generator.face_model == "flame":
        files.append(flame.prepare())  # once, and not in every worker
    if generator.diffusion is not None:  # the same commits from end to end, and errors before anything is drawn
        generator = dataclasses.replace(generator, diffusion=sources.pinned(generator.diffusion))
    return generator, dataclasses.asdict(generator) | {"version": GENERATOR_VERSION, "files": files}


def report_balance(identities: int) -> None:
    """Says so where the cells of age, gender and ethnicity cannot all have the same number of people."""
    each, left = divmod(identities, CELLS)
    if left:
        logging.warning(
            "%d identities do not divide among the %d cells of age x gender x ethnicity: %d cells have %d, "
            "%d have %d.", identities, CELLS, left, each + 1, CELLS - left, each,
        )  # fmt: skip


def _prepare_ict(manual_dir: Path | None, download: Download) -> None:
    """Makes the compact cache of ICT-FaceKit, from a folder the user has, else from the public repository."""
    if os.environ.get("PAINJAX_ICT_DIR"):
        IctFace.load()  # converts it, or says what is wrong with it
        return
    found = sorted(manual_dir.glob(f"**/{ict_convert.NEUTRAL}.obj")) if manual_dir else []
    if found:  # at any depth: a clone of the whole repository will do
        ict_convert.convert(ict_convert.find_sources(found[0].parent))
    elif not ict_convert.newest_cache():
        files = download(ict_convert.source_urls())
        ict_convert.convert({name: Path(path) for name, path in files.items()})
