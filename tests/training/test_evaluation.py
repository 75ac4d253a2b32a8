"""Loss and accuracy over a set: naive counts, every image once, every weight quantized once."""

import math
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from qcli.errors import RunError
from qcli.quantization.quantizer import Quantizer
from qcli.training.batches import MicroBatch, Normalizer, Process, ResidentEvaluation
from qcli.training.evaluation import Tally, evaluate
from qcli.training.splits import ArraySplit

CPU = torch.device("cpu")


def count_naively(logits, labels):
    """Return the mean loss, top1 and top5 of rows of numbers."""
    loss = right_in_one = right_in_five = 0
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        loss += math.log(sum(math.exp(value) for value in row)) - row[label]
        better = sum(value > row[label] for value in row)
        right_in_one += better == 0
        right_in_five += better < 5
    return [part / len(labels) for part in (loss, right_in_one, right_in_five)]


def random_batches(num_classes, sizes=(30, 30, 9)):
    generator = torch.Generator().manual_seed(num_classes)
    return [
        (
            torch.randn(size, num_classes, generator=generator) * 2,
            torch.randint(num_classes, (size,), generator=generator),
        )
        for size in sizes
    ]


@pytest.mark.parametrize("num_classes", [2, 4, 5, 6, 20])
def test_a_tally_counts_as_loops_do(num_classes):
    tally = Tally(CPU)
    batches = random_batches(num_classes)
    for logits, labels in batches:
        tally.add(logits, labels, nn.functional.cross_entropy(logits, labels))
    logits, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    loss, top1, top5 = count_naively(logits, labels)
    metrics = tally.read()
    assert metrics.loss == pytest.approx(loss, rel=1e-5)
    assert (metrics.top1, metrics.top5, metrics.count) == (top1, top5, 69)
    assert 0 < top1 < 1
    assert (top5 == 1) is (num_classes <= 5)


def test_a_tally_can_be_read_on_the_way():
    tally = Tally(CPU)
    for number, (logits, labels) in enumerate(random_batches(6, [4, 4]), 1):
        tally.add(logits, labels, torch.tensor(float(number)))
        assert tally.read().count == 4 * number
    assert tally.read().loss == 1.5


def test_a_tally_of_nothing_is_zero():
    metrics = Tally(CPU).read()
    assert (metrics.loss, metrics.top1, metrics.top5, metrics.count) == (0, 0, 0, 0)


def test_a_tally_keeps_no_graph():
    tally = Tally(CPU)
    logits = torch.zeros(2, 3, requires_grad=True)
    tally.add(logits, torch.tensor([0, 1]), logits.sum())
    assert not tally.sums.requires_grad


def test_sums_of_many_images_stay_exact():
    tally = Tally(CPU)
    tally.sums += torch.tensor([0.0, 2.0**25, 2.0**25, 2.0**25], dtype=tally.sums.dtype)
    tally.add(torch.tensor([[1.0, 0.0]]), torch.tensor([0]), torch.tensor(0.0))
    assert tally.read().count == 2**25 + 1


class Counted(Quantizer):
    """Quantizes by sign and counts how often; scales by 1000 while it trains."""

    calls = 0

    def forward(self, latent):
        type(self).calls += 1
        return latent.sign() * (1000 if self.training else 1)

    def codebook(self):
        return torch.tensor([-1.0, 0.0, 1.0])


def images_of(count):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (count, 3, 6, 6), dtype=torch.uint8, generator=generator)
    return ArraySplit(images, torch.arange(count) % 4)


@pytest.fixture
def batches():
    return ResidentEvaluation(images_of(10), 3, Normalizer(None, False, CPU), Process(0, 1, CPU))


@pytest.fixture
def network(make_network, quantize_by, monkeypatch):
    torch.manual_seed(0)
    monkeypatch.setattr(Counted, "calls", 0)
    return quantize_by(
        make_network(norm=True), (3, 6, 6), {"weight": {"quantizer": "own"}}, own=Counted
    )


def test_evaluation_uses_eval_mode_and_quantizes_each_weight_once(network, batches):
    network.train()
    Counted.calls = 0
    metrics = evaluate(network, batches, CPU)
    assert Counted.calls == 3
    network.eval()
    with torch.no_grad():
        logits = network(images_of(10).images / 255)
    loss, top1, top5 = count_naively(logits, images_of(10).labels)
    assert metrics.loss == pytest.approx(loss, rel=1e-5)
    assert (metrics.top1, metrics.top5, metrics.count) == (top1, top5, 10)


def test_the_next_evaluation_quantizes_anew(network, batches):
    before = evaluate(network, batches, CPU).loss
    with torch.no_grad():
        network.fc.parametrizations.weight.original.neg_()
    assert evaluate(network, batches, CPU).loss != before


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_is_put_back(network, batches, training):
    network.train(training)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    evaluate(network, batches, CPU)
    assert all(module.training is training for module in network.modules())
    assert all(torch.equal(state[name], value) for name, value in network.state_dict().items())


def test_the_mode_is_put_back_after_a_fault(network, batches):
    network.train()
    modes = []

    def fail(module, args):
        modes.append((module.training, torch.is_inference_mode_enabled()))
        raise ZeroDivisionError

    network.fc.register_forward_pre_hook(fail)
    with pytest.raises(ZeroDivisionError):
        evaluate(network, batches, CPU)
    assert modes == [(False, True)]
    assert network.training
    assert not torch.is_inference_mode_enabled()


def test_training_goes_on_after_an_evaluation(network, batches):
    evaluate(network, batches, CPU)
    network.train()
    network(images_of(4).images / 255).sum().backward()
    assert network.fc.bias.grad is not None


@dataclass
class Promising:
    """Promises images and yields other ones."""

    num_images: int
    sizes: tuple[int, ...]

    def __iter__(self):
        for size in self.sizes:
            yield MicroBatch(torch.zeros(size, 3, 6, 6), torch.zeros(size, dtype=torch.int64))


@pytest.mark.parametrize("sizes", [(4, 4), (4, 4, 3), ()])
def test_counting_too_few_or_too_many_images_is_an_error(network, sizes):
    text = f"^evaluated {sum(sizes)} images, but the set has 10$"
    with pytest.raises(RunError, match=text):
        evaluate(network, Promising(10, sizes), CPU)
