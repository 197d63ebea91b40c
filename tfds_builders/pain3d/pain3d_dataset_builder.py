"""3DPain as a TFDS data set: `tfds build tfds_builders/pain3d --config=quick`."""

import dataclasses
import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import requests
import tensorflow_datasets as tfds

from data_gen import finished, preflight
from data_gen.diffusion import room
from data_gen.face_models import ict_convert
from data_gen.generate import generate
from data_gen.generator_config import GeneratorConfig
from data_gen.plan import frames_per_identity
from data_gen.record import BACKDROP, GENERATOR_VERSION, LABELS, PORTRAIT
from data_gen.rig import OTHER_AUS
from data_gen.scene import SPLITS, split_of
from data_gen.variants import VARIANTS, Variant
from painjax.pspi import AU_NAMES
from tfds_builders.pain3d import painting_report, preparation
from tfds_builders.pain3d.bucket_writer import BucketWriter


@dataclasses.dataclass(kw_only=True)
class Pain3dConfig(tfds.core.BuilderConfig):
    """One variant of the data set: how many identities, and the generator's settings.

    Raises:
      ValueError: if there would be nobody, or more people than seeds can number.
    """

    identities: int
    generator: GeneratorConfig

    def __post_init__(self):
        if type(self.identities) is not int or not 1 <= self.identities <= 2**24:
            raise ValueError(f"identities is {self.identities!r}; expected a whole number from 1 to 2**24.")


def _config(name: str, variant: Variant) -> Pain3dConfig:
    generator = variant.generator
    return Pain3dConfig(
        name=name,
        description=f"{variant.frames:,} frames of {variant.identities} identities ({generator.plan}), "
        f"{generator.image_size} px, {generator.face_model}{_painted_by(generator)}.",
        identities=variant.identities,
        generator=generator,
    )


def _painted_by(generator: GeneratorConfig) -> str:
    if generator.diffusion is None:
        return ""
    return ", diffusion with backdrops" if generator.diffusion.backdrop else ", diffusion"


class Builder(tfds.core.GeneratorBasedBuilder):
    """Synthetic pain faces with exact labels. The README beside this file is the specification."""

    VERSION = tfds.core.Version(GENERATOR_VERSION)
    RELEASE_NOTES = {
        "3.1.0": "The procedural head smiles and raises its chin as far as people do; clothes without jagged stripes, "
        "goatees without gaps; closed lids of FLAME heads cover their eyeballs.",
        "3.0.0": "Better hair, beards, shoulders and teeth, so that every picture is another; in masks and heatmaps a "
        "beard is face. New configurations with the suffixes `_diffusion` and `_backdrop`.",
        "2.0.0": "Rooms, light rigs, lens, head roll and expression wrinkles, all recorded; units outside PSPI; "
        "configurations `distractors` and `clips`. The CHANGELOG beside this file has the rest.",
        "1.0.0": "First release: procedural and ICT-FaceKit heads, procedural textures.",
    }
    BUILDER_CONFIGS = [_config(name, variant) for name, variant in VARIANTS.items()]
    DEFAULT_BUILDER_CONFIG_NAME = "quick"
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "For the `_ict` and `_flame` configurations, and only without internet: put the folder `FaceXModel` of "
        "the public repository ICT-VGL/ICT-FaceKit (MIT licence) here, or set PAINJAX_ICT_DIR to it. The `_flame` ones "
        "also need PAINJAX_FLAME_FILE to name a FLAME model that you registered for. The `_diffusion` and `_backdrop` "
        "ones take models from the hub, or from folders that PAINJAX_DIFFUSION_MODEL and PAINJAX_DIFFUSION_CONTROLNET "
        "name, and PAINJAX_DIFFUSION_INPAINT for backdrops."
    )

    def __init__(self, *, file_format=None, **kwargs):
        """array_record unless asked otherwise: it is the format that reads at random without TensorFlow."""
        super().__init__(file_format=file_format or "array_record", **kwargs)
        self._unfinished: Path | None = None
        self._beam = False

    def _info(self) -> tfds.core.DatasetInfo:
        size = self.builder_config.generator.image_size
        picture = tfds.features.Image(shape=(size, size, 3), encoding_format="jpeg")
        plane = tfds.features.Image(shape=(size, size, 1), encoding_format="png")
        label, vector = tfds.features.ClassLabel, tfds.features.Tensor
        features = {
            "image": picture,
            "neutral_image": picture,
            "heatmap": plane,
            "heatmap_frontal": plane,
            "mask": plane,
            "aus": vector(shape=(len(AU_NAMES),), dtype=np.float32),
            "other_aus": vector(shape=(len(OTHER_AUS),), dtype=np.float32),
            "asymmetry": np.float32,
            "pspi": np.float32,
            "kind": label(names=LABELS["kind"]),
            "expression": label(names=LABELS["expression"]),
            "expression_id": np.int32,
            "landmarks": vector(shape=(68, 2), dtype=np.float32),
            "landmarks_visible": vector(shape=(68,), dtype=np.bool_),
            "identity": {
                "id": np.int32,
                "age_group": label(names=LABELS["identity/age_group"]),
                "age_years": np.float32,
                "gender": label(names=LABELS["identity/gender"]),
                "ethnicity": label(names=LABELS["identity/ethnicity"]),
            },
            "view": {"id": np.int32} | _floats("yaw", "pitch", "roll", "fov", "fill", "distance_mm"),
            "light": {"rig": label(names=LABELS["light/rig"])}
            | _floats("key_azimuth", "key_elevation", "key", "fill", "ambient", "rim", "kelvin", "fill_kelvin"),
            "room": {"kind": label(names=LABELS["room/kind"])} | _floats("turn", "brightness", "kelvin", "blur"),
            "lens": {"jpeg_quality": np.int32} | _floats("exposure", "warmth", "tint", "defocus", "noise", "vignette"),
            "seed": np.uint64,
            "generator_version": tfds.features.Text(),
        }
        if self.builder_config.generator.plan == "clips":
            features["clip"] = {"id": np.int32, "frame": np.int32, "time_s": np.float32}
        if self.builder_config.generator.diffusion is not None:
            features["portrait"] = _told(PORTRAIT)
            if self.builder_config.generator.diffusion.backdrop is not None:
                features["backdrop"] = {"kept": plane} | _told(BACKDROP)
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "pspi"),
            homepage="https://arxiv.org/abs/2509.16727",
        )

    def is_prepared(self) -> bool:
        """As any builder's, without TFDS's warning about a folder that is not there yet."""
        return (self.data_path / "dataset_info.json").exists() and super().is_prepared()

    def download_and_prepare(self, **kwargs) -> None:
        """As any builder's; a build that was killed before goes on with the identities that it had finished.

        With a runner or options of Apache Beam in its `download_config`, Beam distributes the identities. Of a
        build in a bucket (gs://) nothing is kept but by Beam.

        Raises:
          PermissionError: if nothing can be written to the data directory.
          OSError: if there is too little room there, or in the cache for what is to be painted.
        """
        asked = kwargs.get("download_config") or tfds.download.DownloadConfig()
        if self.is_prepared() and not asked.download_mode.overwrite_dataset:
            super().download_and_prepare(**kwargs)  # which reuses it
            if not self._in_bucket and os.access(self.data_dir, os.W_OK):  # others may read it, too
                self._report_painting()  # where a build was killed before it did
            return
        self._beam = bool(asked.beam_options or asked.beam_runner)
        config, parent = self.builder_config, Path(self.data_dir).parent
        if self._in_bucket:
            super().download_and_prepare(**kwargs)
            self._report_painting()
            return
        frames = config.identities * frames_per_identity(config.generator.plan)
        preflight.check_output(parent, frames, config.generator.image_size, finished.kept_bytes(parent))
        super().download_and_prepare(**kwargs)
        finished.remove_all(parent)
        self._report_painting()

    def _report_painting(self) -> None:
        folder = self.data_path
        if self.builder_config.generator.diffusion is not None and not (folder / painting_report.NAME).exists():
            painting_report.write(folder)

    @property
    def _in_bucket(self) -> bool:
        return "://" in self.data_dir

    def _example_writer(self) -> tfds.core.ExampleWriter:
        return BucketWriter(self.info.file_format) if self._in_bucket else super()._example_writer()

    def _split_generators(self, dl_manager: tfds.download.DownloadManager):
        generator, settings = self._prepare(dl_manager)
        if not self._beam:  # whose workers have disks of their own
            people, parent = range(self.builder_config.identities), Path(self.data_dir).parent
            frames = len(people) * frames_per_identity(generator.plan)
            built = preflight.needed_bytes(frames, generator.image_size) - finished.kept_bytes(parent)
            room.check(generator, people, *(() if self._in_bucket else (parent, built)))
        if not self._in_bucket:
            self._unfinished = finished.folder(Path(self.data_dir).parent, settings)
        return {split: self._generate_examples(split, generator) for split in SPLITS}

    def _prepare(self, dl_manager: tfds.download.DownloadManager) -> tuple[GeneratorConfig, dict[str, Any]]:
        try:
            manual_dir = Path(dl_manager.manual_dir)
        except AssertionError:  # how TFDS says that there is none, or that it is empty
            manual_dir = None
        config = self.builder_config
        return preparation.prepare(
            config.identities, config.generator, manual_dir, functools.partial(_download, dl_manager)
        )

    def download(self, urls: Mapping[str, str]) -> Mapping[str, Path]:
        """The files behind URLs by name, whose checksums stand beside this file."""
        config = tfds.download.DownloadConfig()
        return _download(self._make_download_manager(download_dir=None, download_config=config), urls)

    def _generate_examples(self, split: str, generator: GeneratorConfig):
        seed = generator.dataset_seed
        identities = [i for i in range(self.builder_config.identities) if split_of(seed, i) == split]
        if not self._beam:
            return generate(generator, identities, keep=self._unfinished)
        from data_gen import beam  # Apache Beam is no part of a bare environment

        return beam.examples(generator, identities, keep=self._unfinished)


def _floats(*names: str) -> dict[str, type]:
    return dict.fromkeys(names, np.float32)


def _told(fields: dict[str, type]) -> dict[str, Any]:
    return {name: tfds.features.Text() if kind is str else kind for name, kind in fields.items()}


def _download(dl_manager: tfds.download.DownloadManager, urls: Mapping[str, str]) -> Mapping[str, Path]:
    _check_reachable(next(iter(urls.values())))
    return dl_manager.download(dict(urls))


def _check_reachable(url: str) -> None:
    """Without internet TFDS would retry each of 158 files for minutes before it says so."""
    try:
        requests.head(url, timeout=30)
    except requests.exceptions.RequestException as error:
        raise ConnectionError(
            f"The face model 'ict' needs the files of ICT-FaceKit Light, and {url} does not answer "
            f"({type(error).__name__}). Without internet: {ict_convert.HOW_TO_GET} Or put it into the folder that "
            "--manual_dir names. The configurations without `_ict` need no files."
        ) from error
