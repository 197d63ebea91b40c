"""The 3DPain generator: scene -> face model -> rig -> texture -> render -> heatmap -> record."""
