"""Every shipped quantization recipe on bundled families: planned, two steps taken."""

import re

import pytest
import torch

from qcli.cli.plan_verb import plan_without_weights
from qcli.errors import PlanError, RecipeError
from qcli.quantization.calibration import calibrate
from qcli.quantization.surgery import quantizers
from qcli.recipe.document import read_document
from qcli.recipe.library import shipped_recipes
from qcli.recipe.schedule import Progress
from qcli.recipe.setting import Request, resolve_setting
from qcli.training.assembly import assemble
from qcli.training.batches import MicroBatch
from qcli.training.evaluation import Tally

PRESETS = list(shipped_recipes("quantization"))
# A small image of the family's kind, and a training recipe of its data.
FAMILIES = {
    "lenet5": (28, "lenet5-mnist-100ep"),
    "resnet20": (32, "resnet20-cifar10-200ep"),
    "vgg_small": (32, "vgg_small-cifar10-200ep"),
    "resnet18": (32, "resnet18-imagenet-120ep"),
}
STEPS = 2
# On the larger two, which take minutes, one width stands for the others of a method.
LARGE = ("vgg_small", "resnet18")
WIDTHS = {re.sub(r"\d", "", preset.replace("a32", "")): preset for preset in reversed(PRESETS)}
CASES = [
    (preset, architecture)
    for preset in PRESETS
    for architecture in FAMILIES
    if architecture not in LARGE or preset in WIDTHS.values()
]


def make_batches(channels, size):
    generator = torch.Generator().manual_seed(0)
    return [
        MicroBatch(
            torch.rand(4, channels, size, size, generator=generator),
            torch.randint(10, (4,), generator=generator),
        )
        for _ in range(STEPS)
    ]


def assemble_preset(architecture, preset, catalog):
    request = Request(
        architecture=architecture, train_json=FAMILIES[architecture][1], quant_json=preset
    )
    setting = resolve_setting(request, catalog)
    return setting, assemble(setting, catalog, 10)


@pytest.mark.slow
@pytest.mark.parametrize(("preset", "architecture"), CASES)
def test_two_steps(preset, architecture, catalog, learn):
    torch.manual_seed(0)
    setting, assembly = assemble_preset(architecture, preset, catalog)
    batches = make_batches(setting.image_shape[0], FAMILIES[architecture][0])
    calibrate(assembly.model, [batch.images for batch in batches])
    learner = learn(assembly.model, setting.training)
    before = {name: each.detach().clone() for name, each in assembly.model.named_parameters()}
    tally = Tally(torch.device("cpu"))
    for step, batch in enumerate(batches):
        learner.step([batch], Progress(step, 10, 0, 1), tally)
    assert tally.read().count == 4 * STEPS
    moved = {
        name
        for name, each in learner.network.named_parameters()
        if not torch.equal(each, before[name])
    }
    latents = {name for name in before if name.endswith("parametrizations.weight.original")}
    assert moved
    assert latents <= moved or not latents
    require_deployed(learner.network, batches[0].images)


def require_deployed(network, images):
    """In eval mode every quantizer emits what its codes say, in place, bit for bit."""
    network.eval()
    checked = []

    def compare(quantizer, args, emitted):
        if quantizer.quantizes:
            decoded = quantizer.decode(quantizer.codes(args[0]))
            checked.append(torch.equal(decoded, emitted))

    for _, _, quantizer in quantizers(network):
        quantizer.register_forward_hook(compare)
    with torch.no_grad():
        assert network(images).isfinite().all()
    assert all(checked)
    assert checked or not any(each.quantizes for _, _, each in quantizers(network))


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS)
def test_torchvision_networks_fit_what_asks_for_no_other_network(preset, catalog):
    """MobileNet-V2 has depthwise layers, and none of the options that some methods require."""
    request = Request(architecture="torchvision:mobilenet_v2", quant_json=preset)
    wanted = read_document(preset, "quantization").value.get("architecture_options", {})
    if wanted:
        with pytest.raises(RecipeError, match=next(iter(wanted))):
            resolve_setting(request, catalog)
    else:
        plan = plan_without_weights(resolve_setting(request, catalog), catalog)
        assert any(True for _ in plan.slots())


# The smallest of each family that the tests above do not train.
OTHERS = (
    *("lenet_n2d2", "simplenet", "vgg7", "vgg16", "vgg_variant", "alexnet", "alexnet_dorefa"),
    *("alexnet_xnor", "alexnet_torchvision", "googlenet", "googlenet_variant", "inception_v1"),
    *("mobilenet_v1", "mobilenet_v2", "resnet18_preact", "bireal_resnet18"),
)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", OTHERS)
def test_every_other_family_is_planned_or_refused_for_a_reason(architecture, catalog):
    refused = {}
    entry = catalog.architecture(architecture)[0]
    for preset in PRESETS:
        try:
            setting = resolve_setting(
                Request(architecture=architecture, quant_json=preset), catalog
            )
            plan = plan_without_weights(setting, catalog)
        except (PlanError, RecipeError) as error:
            refused[preset] = str(error)
            continue
        layers = [row for row in plan.layers if row.weights]
        quantized = {row.layer for row in layers if row.slots["weight"]}
        ends = {layers[0].layer, layers[-1].layer}
        assert ends == {entry.first_layer, entry.last_layer}
        inner = {row.layer for row in layers} - ends
        assert inner <= quantized or not setting.quantization.default.get("weight")
    assert len(refused) < len(PRESETS) / 2, refused
    reasons = ("no batch norm follows", "the method requires", "ReLU", "block_order", "activation")
    odd = {each: text for each, text in refused.items() if not any(r in text for r in reasons)}
    assert odd == {}
