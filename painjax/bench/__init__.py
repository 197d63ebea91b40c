"""`painjax bench infer` and `painjax bench train`: our step and a PyTorch step of the same model, side by side.

Both sides get the same architecture, sizes, dtypes, LoRA adapters, losses and optimizer, and take turns in one run, so
that what else the machine does strikes both. PyTorch lives in a process of its own (`torch_side`), where its threads
are not in JAX's way.

`painjax bench input` measures what feeds the training: reading, decoding, batching and augmenting.
"""
