"""Shape of the encoder, as plain data."""

import dataclasses
import re

POSITIONS = ("rope", "learned", "none")
QKV_BIASES = ("none", "all", "query_value")
MLPS = ("gelu", "swiglu")
REMATS = ("dots", "full", "none")
_LINEARS = ("patch_embed", "blocks/qkv", "blocks/proj", "blocks/fc1", "blocks/fc2")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ViTConfig:
    """Shape of the encoder. The defaults are DINOv3's; a small model trained from scratch wants `layer_scale` 0.1..1.

    position: 'rope' turns queries and keys by the place of their patch (DINOv3); 'learned' adds a table to the tokens
      (ViT, DINOv2), of `position_grid` x `position_grid` patches and, with `position_prefix`, a row for CLS; 'none'
      does without. `position_antialias`: how the table is brought to another grid (see `resize_positions`).
    rope_shift, rope_jitter, rope_rescale: DINOv3's random changes of the patch coordinates -1..1 while training: added
      (-shift..shift, y and x apart), multiplied (1/jitter..jitter, y and x apart) and (1/rescale..rescale, both alike);
      0 is off.
    qkv_bias: 'query_value' has none on keys, as the DINOv3 releases.
    mlp: 'gelu', or 'swiglu' (DINOv3 S+ and H+, DINOv2 g), whose `fc1` makes gate and value; hidden width is
      `round(width * mlp_ratio)`.
    layer_scale: where LayerScale starts; 0 has none.
    drop_path: chance that a whole residual branch of a row is skipped in training, the same for every block.
    lora_rank: > 0 puts LoRA adapters on the linear layers whose name ('patch_embed', 'blocks/qkv', 'blocks/proj',
      'blocks/fc1', 'blocks/fc2') `lora_targets` matches whole; the layers' own weights then stay as they are (see
      `painjax.models.lora`).
    dtype: the compute dtype; parameters stay float32. matmul_dtype: 'bfloat16' rounds the operands of the linear
      layers' products and nothing else (see `painjax.models.matmul`), which is what modern CPUs are fast at.
    remat: what the backward pass computes again instead of keeping it: 'dots' all but the linear layers' outputs (the
      fastest), 'full' each whole block (a quarter of the memory), 'none' nothing.
    """

    patch_size: int
    width: int
    depth: int
    heads: int
    mlp_ratio: float = 4.0
    in_channels: int = 3
    registers: int = 4
    position: str = "rope"
    position_grid: int = 0
    position_prefix: bool = True
    position_antialias: bool = False
    rope_theta: float = 100.0
    rope_shift: float = 0.0
    rope_jitter: float = 0.0
    rope_rescale: float = 0.0
    qkv_bias: str = "none"
    mlp: str = "gelu"
    layer_scale: float = 1e-5
    norm_epsilon: float = 1e-5
    dropout: float = 0.0
    drop_path: float = 0.0
    lora_rank: int = 0
    lora_alpha: float = 16.0
    lora_dropout: float = 0.0
    lora_targets: str = r"blocks/(qkv|proj)"
    dtype: str = "float32"
    matmul_dtype: str = "float32"
    remat: str = "dots"

    def __post_init__(self):
        for name in ("patch_size", "width", "depth", "heads", "in_channels"):
            if getattr(self, name) < 1:
                raise ValueError(f"model.{name} is {getattr(self, name)}; expected at least 1.")
        for name in ("registers", "lora_rank", "layer_scale", "rope_shift", "position_grid"):
            if getattr(self, name) < 0:
                raise ValueError(f"model.{name} is {getattr(self, name)}; expected at least 0.")
        for name, known in (
            ("position", POSITIONS),
            ("qkv_bias", QKV_BIASES),
            ("mlp", MLPS),
            ("remat", REMATS),
        ):
            if getattr(self, name) not in known:
                raise ValueError(f"model.{name} is {getattr(self, name)!r}; expected one of {', '.join(known)}.")
        channels = 4 * self.heads if self.position == "rope" else self.heads
        if self.width % channels:
            why = ", because RoPE turns pairs of channels once for y and once for x" if channels > self.heads else ""
            raise ValueError(
                f"model.width is {self.width} with {self.heads} heads; expected a multiple of "
                f"{'4 * heads' if why else 'heads'} = {channels}{why}."
            )
        if (self.position == "learned") != (self.position_grid > 0):
            raise ValueError(
                f"model.position_grid is {self.position_grid} with model.position {self.position!r}; expected the side "
                "of the table of 'learned' positions, in patches, and 0 for other positions."
            )
        for name in ("rope_jitter", "rope_rescale"):
            if getattr(self, name) != 0 and getattr(self, name) < 1:
                raise ValueError(f"model.{name} is {getattr(self, name)}; expected a factor of at least 1, or 0 (off).")
        for name in ("dropout", "drop_path", "lora_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"model.{name} is {getattr(self, name)}; expected 0 <= {name} < 1.")
        for name in ("dtype", "matmul_dtype"):
            if getattr(self, name) not in ("float32", "bfloat16"):
                raise ValueError(f"model.{name} is {getattr(self, name)!r}; expected 'float32' or 'bfloat16'.")
        if (self.dtype, self.matmul_dtype) == ("bfloat16", "bfloat16"):
            raise ValueError("model.matmul_dtype is for model.dtype 'float32': bfloat16 activations need no rounding.")
        if self.lora_rank and not self._adapted():
            raise ValueError(
                f"model.lora_targets is {self.lora_targets!r}; expected a regular expression that matches at least one "
                f"of {', '.join(_LINEARS)}."
            )

    @property
    def prefix(self) -> int:
        """How many tokens stand before the patch tokens: CLS and the registers."""
        return 1 + self.registers

    @property
    def mlp_width(self) -> int:
        """Width of the hidden layer of the MLP."""
        return round(self.width * self.mlp_ratio)

    def adapts(self, name: str) -> bool:
        """Whether the linear layer `name`, such as 'blocks/qkv', carries LoRA adapters."""
        return self.lora_rank > 0 and re.fullmatch(self.lora_targets, name) is not None

    def _adapted(self) -> list[str]:
        try:
            return [name for name in _LINEARS if self.adapts(name)]
        except re.error as error:
            raise ValueError(
                f"model.lora_targets is {self.lora_targets!r}; expected a regular expression ({error})."
            ) from error
