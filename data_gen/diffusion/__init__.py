"""Diffusion textures: a depth-conditioned text-to-image model paints a portrait of each identity at rest, which is
projected onto the head.

`sitting` -> `prompts` -> `pipelines` -> `checks` -> `studio`, which paints and keeps portraits in `cache`;
`projection` -> `painter`, which makes textures of them. Only `pipelines` imports torch and diffusers.
"""
