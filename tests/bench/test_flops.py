"""The counts against a formula on paper, and against PyTorch's own counter, which sees the products really done."""

import jax
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from painjax import chips
from painjax.bench.case import PATCH_SIZE, Case
from painjax.bench.flops import forward_flops, peak_flops, train_flops
from painjax.bench.torch_side import ViTPain, task_loss


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def on_paper(case: Case, enrolled: bool = False) -> tuple[int, int, int]:
    """Of the linear layers inside the blocks, of the patch embedding, and of everything whose both sides train.

    Without the heads: below 0.1 % for S.
    """
    n, d, r = case.tokens, case.width, case.lora_rank
    encoders = 2 if case.neutral and not enrolled else 1
    linear = case.depth * 2 * n * 12 * d**2
    embedding = 2 * (case.image_size // PATCH_SIZE) ** 2 * PATCH_SIZE**2 * 3 * d
    attention = case.depth * 4 * n**2 * d
    adapters = case.depth * 2 * n * r * (d + 3 * d + d + d)
    # Query and output of the frame's tokens, keys and values of the reference's, and the two products between them.
    cross = (4 * n * d**2 + 4 * n**2 * d + (0 if enrolled else 4 * n * d**2)) if case.neutral else 0
    return encoders * linear, encoders * embedding, encoders * (attention + adapters) + cross


CASES = [
    Case(),
    Case(neutral=False),
    Case(lora_rank=0),
    Case(size="l", dtype="bfloat16"),
    Case(neutral=False, lora_rank=0),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_on_paper(case):
    frozen, embedding, trained = on_paper(case)
    assert forward_flops(case) == pytest.approx(frozen + embedding + trained, rel=2e-3)
    # Frozen weights need no gradient, and through the patch embedding nothing has to go back.
    expected = 2 * frozen + embedding + 3 * trained
    if case.lora_rank == 0:
        expected = 3 * (frozen + trained) + 2 * embedding
    assert train_flops(case) == pytest.approx(expected, rel=2e-3)


def test_on_paper_of_an_enrolled_person():
    assert forward_flops(Case(), enrolled=True) == pytest.approx(sum(on_paper(Case(), enrolled=True)), rel=2e-3)


def test_the_peak_is_that_of_the_device(monkeypatch):
    assert peak_flops("bfloat16") is None  # a CPU
    (h200,) = (chip for chip in chips.CHIPS if chip.name == "H200")
    monkeypatch.setattr("painjax.bench.flops.chip_of", lambda device: h200)
    assert peak_flops("bfloat16") == 989e12 and peak_flops("float32") is None


def test_every_kind_of_device_means_one_chip():
    kinds = [kind for chip in chips.CHIPS for kind in chip.device_kinds]
    assert len(kinds) == len(set(kinds)) and chips.chip_of(jax.devices()[0]) is None


def counted(case: Case, training: bool) -> float:
    model = ViTPain(case.for_torch()).train(training)
    image = torch.randn(1, 3, case.image_size, case.image_size)
    # The counter does not know the CPU's fused attention.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        found = model(image, image)
        if training:
            task_loss(found, {"pspi": torch.ones(1), "aus": torch.ones(1, 6)}).backward()
    return counter.get_total_flops()


@pytest.mark.parametrize("lora_rank", [0, 8])
@pytest.mark.parametrize("neutral", [True, False])
def test_forward(neutral, lora_rank):
    case = Case(size="ti", image_size=64, neutral=neutral, lora_rank=lora_rank)
    assert forward_flops(case) == pytest.approx(counted(case, training=False), rel=0.01)


@pytest.mark.parametrize("lora_rank", [0, 8])
def test_training(lora_rank):
    case = Case(size="ti", image_size=64, lora_rank=lora_rank)
    assert train_flops(case) == pytest.approx(counted(case, training=True), rel=0.02)


def test_an_enrolled_person_costs_one_encoder_and_the_attention_to_it():
    case = Case(size="s")
    alone, both, enrolled = (
        forward_flops(Case(size="s", neutral=False)),
        forward_flops(case),
        forward_flops(case, enrolled=True),
    )
    # Query and output, 4 N D^2, and the two products with keys and values, 4 N^2 D; N = 1 + 4 + 14 * 14.
    assert enrolled - alone == 4 * 201 * 384**2 + 4 * 201**2 * 384
    assert both - enrolled == pytest.approx(alone + 4 * 201 * 384**2, rel=1e-3)  # less the heads of one picture
