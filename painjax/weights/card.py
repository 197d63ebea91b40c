"""The model card of imported weights."""

from collections.abc import Mapping
from typing import Any

from painjax.weights.layout import Layout


def import_card(
    layout: Layout,
    model: Mapping[str, Any],
    preprocessing: Mapping[str, Any],
    preprocessing_from: str,
    source: Mapping[str, Any],
) -> str:
    """What is known of imported weights, and what is not, as Markdown.

    Args:
      layout: whose weights they are.
      model: the fields of the configuration.
      preprocessing: of the model folder.
      preprocessing_from: where that is from.
      source: of the model folder.
    """
    revision = f", commit `{source['revision']}`" if source["revision"] else ""
    size = f"width {model['width']}, {model['depth']} blocks, {model['heads']} heads, patches of {model['patch_size']}"
    if layout.kind == "vitpain":
        use = (
            "Estimates PSPI and action units from a face, as its authors trained it. It is a research model, **not a "
            "medical device**: do not base care of a person on it. How well it does, and for whom, is for its authors' "
            "paper to say and for you to measure on your own data; nothing was measured when it was imported."
        )
    else:
        use = (
            "An encoder of pictures, without anything that reads pain from them: training starts from it. Nothing was "
            "measured when it was imported."
        )
    return f"""# {source["from"]}

Weights of {layout.title}, imported into PainJAX without change.

- Source: `{source["from"]}`{revision}, file `{source["file"]}`, SHA-256 `{source["sha256"]}`.
- Model: {size}; all of its configuration is in `config.json`.
- Pictures: {preprocessing["size"]} px, mean {_numbers(preprocessing["mean"])}, standard deviation
  {_numbers(preprocessing["std"])}, {preprocessing["interpolation"]}, crop {preprocessing["crop"]:g} (from
  {preprocessing_from}).

## Use

{use}

## Licence and training data

Those of the source; this copy changes neither. Read its page before you publish or deploy anything made with it.
"""


def _numbers(values: list[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
