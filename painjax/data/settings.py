"""Which settings of `config.data` no training can run with."""

from ml_collections import ConfigDict

from painjax.data.references import REFERENCES
from painjax.data.sampling import SAMPLING


def check_input(config: ConfigDict) -> list[str]:
    """What is wrong with `config.data`, a phrase each."""
    data, wrong = config.data, []
    for name, least in (("threads", 1), ("workers", 0), ("neutrals", 1), ("label_noise", 0)):
        if data[name] < least:
            wrong.append(f"config.data.{name} is {data[name]}; expected at least {least}")
    for name, known in (("sampling", SAMPLING), ("neutral", REFERENCES)):
        if data[name] not in known:
            wrong.append(f"config.data.{name} is {data[name]!r}; expected one of {', '.join(known)}")
    if not 0 <= data.drop_neutral <= 1:
        wrong.append(f"config.data.drop_neutral is {data.drop_neutral}; expected a chance, 0 to 1")
    for name in ("flip", "erase"):
        if not 0 <= data.augment[name] <= 1:
            wrong.append(f"config.data.augment.{name} is {data.augment[name]}; expected a chance, 0 to 1")
    for name in data.augment:
        if data.augment[name] < 0:
            wrong.append(f"config.data.augment.{name} is {data.augment[name]}; expected 0 (none) or more")
    return wrong + _check_neutral(config)


def _check_neutral(config: ConfigDict) -> list[str]:
    neutral, wrong = config.data.neutral, []
    if config.data.neutrals > 1 and neutral != "several":
        wrong.append(
            f"config.data.neutrals is {config.data.neutrals} and config.data.neutral {neutral!r}; they go "
            "with 'several'"
        )
    if neutral == "same_view":
        return wrong
    if config.model.neutral == "none":
        wrong.append(f"config.data.neutral is {neutral!r} and config.model.neutral 'none', which takes none")
    if config.model.neutral == "channels":
        wrong.append(
            f"config.data.neutral is {neutral!r} and config.model.neutral 'channels', which subtracts the reference "
            "pixel by pixel and needs it from the same view; use model.neutral 'shared' or 'separate'"
        )
    return wrong
