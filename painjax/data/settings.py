"""Which settings of `config.data` no training can run with."""

from ml_collections import ConfigDict


def check_input(config: ConfigDict) -> list[str]:
    """What is wrong with `config.data`, a phrase each."""
    data, wrong = config.data, []
    for name, least in (("threads", 1), ("workers", 0)):
        if data[name] < least:
            wrong.append(f"config.data.{name} is {data[name]}; expected at least {least}")
    return wrong
