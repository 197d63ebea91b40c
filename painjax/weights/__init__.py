"""Weights made by others, read into our models and written back.

`layouts` holds one table per layout (timm, transformers, the authors' ViTPain), used in both directions by `tables`;
`source` finds the files, on disk or on the hub; `importing` is the whole way from a file to a model folder.
"""

from painjax.weights.importing import import_weights

__all__ = ["import_weights"]
