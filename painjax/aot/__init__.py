"""What training would need on a TPU slice, found without one: the real step is compiled for its topology.

`topology` describes slices; `compilation` compiles the step of an experiment for one; `program`, `collectives` and
`traffic` read what came out; `roofline` estimates time and scaling; `report` is the whole way, and its text.
"""
