"""The PyTorch side of the benchmark, a process of its own: `python -m painjax.bench.torch_side`.

The same model as ours with what PyTorch users have: the encoder is transformers' `DINOv3ViTModel` with scaled dot
product attention, the adapters are peft's, cross-attention is `nn.MultiheadAttention`. Query, key and value are one
product with one adapter, as in timm, in the authors' code and in ours; transformers' own three are about 10 % slower.

Reads requests from stdin and answers on stdout, a JSON line each, in the order: build, then infer, train or gemm as
often as wanted. It ends when stdin does, also while it computes, so that it never outlives its parent.
"""

import json
import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import nn
from torch.nn import functional
from transformers import DINOv3ViTConfig, DINOv3ViTModel
from transformers.models.dinov3_vit.modeling_dinov3_vit import apply_rotary_pos_emb

PRECISION = {"float32": "highest", "bfloat16": "medium"}
MIN_STEPS = 2
GEMM_REPEATS = 10
AUS = 6
ATTENTION_HEADS = 8
AU_MAX = (5.0, 5.0, 5.0, 5.0, 5.0, 1.0)
PSPI_MAX = 16.0


class FusedAttention(nn.Module):
    """In the place of transformers' attention: one product for query, key and value."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.o_proj = nn.Linear(width, width)

    def forward(self, hidden_states, attention_mask=None, position_embeddings=None, **_):
        b, n, d = hidden_states.shape
        q, k, v = self.qkv(hidden_states).view(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        q, k = apply_rotary_pos_emb(q, k, *position_embeddings)
        y = functional.scaled_dot_product_attention(q, k, v)  # [B, H, N, K]
        return self.o_proj(y.transpose(1, 2).reshape(b, n, d)), None


class ViTPain(nn.Module):
    """The authors' ViTPain on DINOv3, for one `painjax.bench.case.Case` as a dict."""

    def __init__(self, case: dict[str, Any]):
        super().__init__()
        d = case["width"]
        self.prefix = 1 + case["registers"]
        self.encoder = make_encoder(case)
        self.neutral_encoder = make_encoder(case) if case["neutral"] else None
        if case["neutral"]:
            self.neutral_attention = nn.MultiheadAttention(d, ATTENTION_HEADS, batch_first=True)
            self.neutral_norm = nn.LayerNorm(d)
        widths = (d, 512, 256, 128)
        layers = [layer for a, b in zip(widths, widths[1:], strict=False) for layer in (nn.Linear(a, b), nn.GELU())]
        self.pspi_head = nn.Sequential(nn.LayerNorm(d), *layers, nn.Linear(128, 1), nn.Sigmoid())
        self.threshold_heads = nn.ModuleList(nn.Sequential(nn.LayerNorm(d), nn.Linear(d, 1)) for _ in range(3))
        self.au_queries = nn.Parameter(0.02 * torch.randn(AUS, d))
        self.au_features = nn.Sequential(nn.LayerNorm(d), nn.Linear(d, 512), nn.GELU())
        self.au_head = nn.Linear(512, 1)

    def forward(self, image: torch.Tensor, neutral: torch.Tensor | None):
        """PSPI [B] (0..16), action units [B, 6], threshold logits [B, 3] of pictures [B, 3, H, W]."""
        tokens = self.encoder(image).last_hidden_state  # [B, N, D]
        if self.neutral_encoder is not None:
            calm = self.neutral_encoder(neutral).last_hidden_state
            found, _ = self.neutral_attention(tokens, calm, calm, need_weights=False)
            tokens = self.neutral_norm(tokens + found)
        cls_token, patches = tokens[:, 0], tokens[:, self.prefix :]
        thresholds = torch.cat([head(cls_token) for head in self.threshold_heads], dim=1)  # [B, 3]
        weights = (self.au_queries @ patches.transpose(1, 2) / patches.shape[-1] ** 0.5).softmax(-1)  # [B, A, P]
        aus = self.au_head(self.au_features(weights @ patches))[..., 0].relu()  # [B, A]
        return PSPI_MAX * self.pspi_head(cls_token)[:, 0], aus, thresholds


def make_encoder(case: dict[str, Any]) -> nn.Module:
    """DINOv3 with random weights, without its random changes of the positions, with adapters if the case has them."""
    config = DINOv3ViTConfig(
        hidden_size=case["width"],
        intermediate_size=4 * case["width"],
        num_hidden_layers=case["depth"],
        num_attention_heads=case["heads"],
        num_register_tokens=case["registers"],
        patch_size=case["patch_size"],
        image_size=case["image_size"],
        layerscale_value=1.0,
        pos_embed_rescale=None,
    )
    model = DINOv3ViTModel(config)
    model.embeddings.mask_token.requires_grad_(False)  # of pretraining alone
    for layer in model.model.layer:
        layer.attention = FusedAttention(case["width"], case["heads"])
    if not case["lora_rank"]:
        return model
    adapters = LoraConfig(
        r=case["lora_rank"],
        lora_alpha=case["lora_alpha"],
        lora_dropout=case["lora_dropout"],
        target_modules=["qkv", "o_proj"],
    )
    return inject_adapter_in_model(adapters, model)  # freezes the rest of the encoder


def task_loss(found, labels) -> torch.Tensor:
    """Squared errors of PSPI and of the action units as fractions of their ranges, cross-entropy of the thresholds."""
    pspi, aus, thresholds = found
    scale = aus.new_tensor(AU_MAX)
    events = (labels["pspi"][:, None] >= labels["pspi"].new_tensor([1.0, 2.0, 3.0])).to(thresholds.dtype)
    loss = functional.mse_loss(pspi / PSPI_MAX, labels["pspi"] / PSPI_MAX)
    loss = loss + functional.mse_loss(aus / scale, labels["aus"] / scale)
    return loss + 0.1 * functional.binary_cross_entropy_with_logits(thresholds, events)


class Side:
    """Answers the requests; each public method is one."""

    def build(self, case: dict[str, Any]) -> dict[str, Any]:
        """Makes model, optimizer and a batch of random pictures; says how many parameters there are."""
        torch.manual_seed(0)
        torch.set_float32_matmul_precision(PRECISION[case["matmul_dtype"]])
        self.case, self.device = case, torch.device(case["device"])
        self.model = ViTPain(case).to(self.device)
        shape = (case["batch_size"], 3, case["image_size"], case["image_size"])
        self.image, self.neutral = (torch.randn(shape, device=self.device) for _ in range(2))
        rows = case["batch_size"]
        self.labels = {
            "pspi": PSPI_MAX * torch.rand(rows, device=self.device),
            "aus": torch.rand(rows, AUS, device=self.device),
        }
        self.trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.trained, lr=1e-4, weight_decay=0.05)
        unused = sum(e.embeddings.mask_token.numel() for e in self.model.modules() if isinstance(e, DINOv3ViTModel))
        return {
            "parameters": sum(p.numel() for p in self.model.parameters()) - unused,
            "trained_parameters": sum(p.numel() for p in self.trained),
            "threads": torch.get_num_threads(),
        }

    def infer(self, seconds: float) -> dict[str, float]:
        """Images per second of the model in evaluation mode, adapters unmerged."""
        self.model.eval()

        def step() -> None:
            with torch.inference_mode(), self._autocast():
                self.model(self.image, self.neutral)

        return {"images_per_second": self._timed(step, seconds)}

    def train(self, seconds: float) -> dict[str, float]:
        """Images per second of whole training steps."""
        self.model.train()

        def step() -> None:
            with self._autocast():
                loss = task_loss(self.model(self.image, self.neutral), self.labels)
            self.optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.trained, 1.0)
            self.optimizer.step()

        return {"images_per_second": self._timed(step, seconds)}

    def gemm(self, rows: int, inputs: int, outputs: int) -> dict[str, float]:
        """GFLOP/s of one product of that size in the compute dtype, best of several."""
        dtype = getattr(torch, self.case["dtype"])
        x = torch.randn(rows, inputs, device=self.device, dtype=dtype)
        w = torch.randn(outputs, inputs, device=self.device, dtype=dtype)
        best = min(self._duration(lambda: functional.linear(x, w)) for _ in range(GEMM_REPEATS + 1))
        return {"gflops": 2 * rows * inputs * outputs / best / 1e9}

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.case["dtype"] == "bfloat16")

    def _timed(self, step: Callable[[], object], seconds: float) -> float:
        """As `painjax.bench.rounds.timed`: at least `seconds` and `MIN_STEPS` steps, after one that is not timed."""
        self._duration(step)
        start, done = time.perf_counter(), 0
        while done < MIN_STEPS or time.perf_counter() - start < seconds:
            self._duration(step)
            done += 1
        return done * self.case["batch_size"] / (time.perf_counter() - start)

    def _duration(self, step: Callable[[], object]) -> float:
        start = time.perf_counter()
        step()
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start


def requests() -> queue.SimpleQueue:
    """The lines of stdin as they come; the process ends with it, whatever it is computing then."""
    lines: queue.SimpleQueue = queue.SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            lines.put(json.loads(line))
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    return lines


def main() -> None:
    """Answers requests {"do": name of a method of `Side`, ...its arguments} until stdin ends."""
    side, lines = Side(), requests()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    while True:
        request = lines.get()
        answers.write(json.dumps(getattr(side, request.pop("do"))(**request)) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
