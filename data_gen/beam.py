"""The generator on Apache Beam: the same examples, drawn wherever the runner has its workers."""

import functools
from collections.abc import Sequence

import apache_beam as beam

from data_gen import finished, generate
from data_gen.generator_config import GeneratorConfig


def examples(config: GeneratorConfig, identities: Sequence[int]) -> beam.PTransform:
    """(key, example) of all frames of the identities; an identity is an element, so that a worker that dies loses those
    of its bundle. Portraits must have been painted, into a cache that all workers see.
    """
    return (
        "People" >> beam.Create(list(identities))
        | "Distribute" >> beam.Reshuffle()
        | "Draw" >> beam.FlatMap(functools.partial(_drawn, config))
        | "Keep" >> beam.Reshuffle()  # TFDS reads them several times: what is drawn is not to be drawn again
    )


def _drawn(config: GeneratorConfig, index: int) -> finished.Frames:
    return generate.generate_apart(config, index)
