"""PainJAX: 3DPain, synthetic pain faces with exact labels, and ViTPain, trained on it in JAX."""

__version__ = "0.1.0"
