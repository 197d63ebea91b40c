"""The counts on paper against PyTorch's own counter, which sees the products that are really done."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from painjax.bench.case import Case
from painjax.bench.flops import forward_flops, train_flops
from painjax.bench.torch_side import ViTPain, task_loss


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


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
    assert enrolled - alone == pytest.approx(4 * 201 * 384**2 + 4 * 201**2 * 384)
    assert both - enrolled == pytest.approx(alone + 4 * 201 * 384**2)
