"""Every layout that is read and written, by name."""

from painjax.weights.layout import Layout
from painjax.weights.layouts import huggingface, official, timm

# The authors' file holds a timm backbone, so it is recognised first.
LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        official.OFFICIAL,
        timm.DINOV3,
        timm.VIT,
        huggingface.DINOV3,
        huggingface.DINOV2,
        huggingface.VIT,
    )
}
