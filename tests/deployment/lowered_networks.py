"""Small networks lowered to integers, beside the same networks in float64."""

import copy
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

import qcli
from qcli.deployment.execution import run_graph
from qcli.deployment.graph import Graph
from qcli.deployment.lowering.walk import Pixels, lower
from qcli.quantization.calibration import calibrate
from qcli.quantization.surgery import quantizers

CATALOG = qcli.load_catalog()
PIXELS = Pixels(np.float32([0.02]).astype(np.float64), np.float32([-1.7]).astype(np.float64))
IMAGE_BITS = {"quantizer": "uniform", "bits": 8}
SHAPE = (2, 8, 8)
# Of the largest value of a tensor: what its numbers in float64, of float32 levels, may be off.
TOLERANCE = 1e-6


@dataclass
class Lowered:
    """A network in three forms.

    Args:
        model: float32, with quantizers, in eval mode.
        plain: float64, with the weights that `model` uses, without quantizers.
        graph: Integers.
        images: uint8 [N, C, H, W].
    """

    model: nn.Module
    plain: nn.Module
    graph: Graph
    images: np.ndarray

    def run(self):
        """Return every tensor of the graph."""
        return run_graph(self.graph, self.images, lambda name: True)


class Calls(nn.Module):
    """A module whose forward is a function of it and its input.

    Args:
        function: Called with the module and its input.
        modules: By name.
    """

    def __init__(self, function, **modules):
        super().__init__()
        self.function = function
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x):
        return self.function(self, x)


@dataclass
class Comparison:
    """How many codes differ from float64, in all and by more than rounding explains."""

    compared: int = 0
    different: int = 0
    unexplained: list[str] = field(default_factory=list)


def make_recipe(default, rules=(), **ends):
    recipe = {"name": "test", "default": default, "layers": list(rules)}
    return recipe | {"first_layer": {}, "last_layer": {}} | ends


def lsq(bits, **options):
    return {"quantizer": "lsq", "bits": bits, **options}


INPUTS = make_recipe({"weight": lsq(3), "input": lsq(4)}, first_layer={"input": IMAGE_BITS})
OUTPUTS = make_recipe({"weight": lsq(3), "output": lsq(4)}, first_layer={"input": IMAGE_BITS})


def chain(*modules):
    """Return modules in a row, then a linear layer that takes what comes."""
    torch.manual_seed(1)
    body = nn.Sequential(*modules).eval()
    features = body(torch.zeros(1, *SHAPE)).numel()
    return nn.Sequential(*modules, nn.Flatten(), nn.Linear(features, 3))


def prepare(network, recipe, image_shape, count=4, seed=0, pixels=PIXELS):
    """Quantize and calibrate a network; return it, its float64 form, and images."""
    torch.manual_seed(seed)
    images = torch.randint(0, 256, (count, *image_shape), dtype=torch.uint8)
    plan = qcli.make_plan(network, recipe, image_shape, catalog=CATALOG)
    model = qcli.quantize(copy.deepcopy(network), plan)
    calibrate(model, [normalize(images, pixels).float()])
    model.eval()
    plain = copy.deepcopy(network)
    plain.load_state_dict(qcli.bake(model))
    return model, plain.double().eval(), images.numpy()


def normalize(images, pixels=PIXELS):
    factor, offset = (
        torch.from_numpy(numbers)[:, None, None] for numbers in (pixels.factor, pixels.offset)
    )
    return torch.as_tensor(images).double() * factor + offset


def lower_network(network, recipe, image_shape, count=4, seed=0, pixels=PIXELS):
    """Quantize, calibrate and lower a network."""
    model, plain, images = prepare(network, recipe, image_shape, count, seed, pixels)
    return Lowered(model, plain, lower(model, image_shape, pixels, {}), images)


def scramble_norms(network, seed=0):
    """Give norms what training gives them: factors of both signs and 0, tiny variances."""
    random = torch.Generator().manual_seed(seed)

    def draw(like, low, high):
        return torch.rand(like.shape, generator=random) * (high - low) + low

    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.track_running_stats:
            module.running_mean.copy_(draw(module.running_mean, -0.5, 0.5))
            module.running_var.copy_(draw(module.running_var, 0.3, 2))
            module.running_var[-1:] = 1e-12
            if module.affine:
                module.weight.data.copy_(draw(module.weight, -1.2, 1.5))
                module.weight.data[1:2] = 0
                module.bias.data.copy_(draw(module.bias, -0.5, 0.5))
    return network


def compare(lowered, results=None, pixels=PIXELS):
    """Count codes that differ from float64, each quantizer fed with the integers' values.

    A difference is explained where the float64 number lies next to a threshold.
    """
    results = results or lowered.run()
    found = Comparison()
    modules = dict(lowered.plain.named_modules())
    hooks = []
    for layer, slot, quantizer in quantizers(lowered.model):
        if slot == "weight":
            continue
        name = f"{layer}.{slot}"
        replace = _replacer(
            name, quantizer, torch.from_numpy(results[name].astype(np.int64)), found
        )
        if slot == "input":
            hook = modules[layer].register_forward_pre_hook(lambda m, a, r=replace: (r(a[0]),))
        else:
            hook = modules[layer].register_forward_hook(lambda m, a, y, r=replace: r(y))
        hooks.append(hook)
    with torch.no_grad():
        scores = lowered.plain(normalize(lowered.images, pixels)).numpy()
    for hook in hooks:
        hook.remove()
    _compare_scores(lowered, results, scores, found)
    return found


def _replacer(name, quantizer, integers, found):
    planes = quantizer.planes()
    levels = planes.integers[:, 0] if planes.integers.shape[1] == 1 else None
    thresholds = quantizer.thresholds()

    def replace(x):
        wanted = (
            integers if levels is None else torch.searchsorted(levels.long(), integers.contiguous())
        )
        codes = thresholds.codes(x)
        assert codes.shape == wanted.shape, name
        wrong = codes != wanted
        found.compared += wrong.numel()
        found.different += int(wrong.sum())
        if wrong.any():
            distance = (x[wrong][:, None] - thresholds.tau).abs().min(1).values
            # A code that is off by more than one has crossed several thresholds.
            far = (codes - wanted)[wrong].abs() > 1
            limit = TOLERANCE * float(x.abs().max())
            bad = (distance > limit) | (far & (distance > 0))
            if bad.any():
                found.unexplained.append(f"{name}: {int(bad.sum())} of {wrong.numel()}")
        return quantizer.decode(wanted).double()

    return replace


def _compare_scores(lowered, results, scores, found):
    integers = np.ldexp(results["logits"].astype(np.float64), -lowered.graph.logits.shift)
    assert integers.shape == scores.shape
    scale = max(1e-6, np.abs(scores).max())
    worst = np.abs(integers - scores).max()
    if worst > 10 * TOLERANCE * scale:
        found.unexplained.append(f"logits: off by {worst:g} of {scale:g}")


def check(network, recipe, shape=SHAPE, most=0):
    """Lower a network; every quantizer must give the codes that float64 gives."""
    lowered = lower_network(scramble_norms(network), recipe, shape)
    found = compare(lowered)
    assert found.unexplained == []
    assert found.different <= most
    assert found.compared > 0
    return lowered
