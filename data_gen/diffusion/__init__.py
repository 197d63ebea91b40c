"""What diffusion models paint: a portrait of each identity at rest, which is projected onto the head, and, if asked
for, what surrounds the face of each frame.

`sitting` -> `prompts`, `conditions` -> `pipelines` -> `checks` -> `studio`, which paints portraits and keeps them in
`cache`; `projection` -> `painter`, which makes textures of them. `backdrop`, what is face and what is not -> `scenery`,
which paints around it -> `album`, which keeps that. Only `pipelines` imports torch and diffusers.
"""
