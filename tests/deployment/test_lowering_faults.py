"""What does not lower: each refusal with its text, and all of a network's at once."""

import numpy as np
import pytest
import torch
from lowered_networks import (
    IMAGE_BITS,
    PIXELS,
    SHAPE,
    Calls,
    chain,
    make_recipe,
    prepare,
    scramble_norms,
)
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

import qcli
from qcli.deployment.lowering.walk import ADVICE, lower
from qcli.quantization.surgery import quantizers

LSQ = {"quantizer": "lsq", "bits": 4}
INPUTS = make_recipe({"weight": LSQ, "input": LSQ}, first_layer={"input": IMAGE_BITS})
WEIGHTS = make_recipe({"weight": LSQ}, first_layer={"input": IMAGE_BITS})
OUTPUTS = make_recipe({"weight": LSQ, "output": LSQ}, first_layer={"input": IMAGE_BITS})
conv, norm = nn.Conv2d, nn.BatchNorm2d


def faults_of(network, recipe=INPUTS, change=lambda model: None, pixels=PIXELS):
    """Return why a network does not lower."""
    model, _, _ = prepare(scramble_norms(network), recipe, SHAPE)
    change(model)
    with pytest.raises(qcli.ExportError) as caught:
        lower(model, SHAPE, pixels, {})
    faults = list(caught.value.faults)
    if faults[-1] == ADVICE:
        faults.pop()
    return faults


FLOAT = make_recipe({"input": LSQ}, [{"match": "2", "weight": LSQ}])
XNOR = {"quantizer": "xnor", "input_scale": True}

CHAINS = {
    "float weight": (
        [conv(2, 4, 3)],
        FLOAT,
        "layer 0: its weight is float; give it a weight quantizer",
    ),
    "unquantized input": (
        [conv(2, 4, 3), nn.ReLU(), conv(4, 3, 3)],
        make_recipe({"weight": LSQ}, [{"match": "4", "input": LSQ}], first_layer={"input": LSQ}),
        "layer 2: its input is not quantized; quantize the input, or the output of the activation "
        "before it",
    ),
    "border of an offset": (
        [conv(2, 4, 3), conv(4, 3, 3, padding=1)],
        make_recipe({"weight": LSQ}, [{"match": "3", "input": LSQ}], first_layer={"input": LSQ}),
        "layer 1: its input has an offset and its border is 0, which is no integer; quantize the "
        "input",
    ),
    "transposed border of an offset": (
        [conv(2, 4, 3), nn.ConvTranspose2d(4, 3, 2)],
        make_recipe({"weight": LSQ}, [{"match": "3", "input": LSQ}], first_layer={"input": LSQ}),
        "layer 1: its input has an offset and its border is 0, which is no integer; quantize the "
        "input",
    ),
    "different scales": (
        [conv(2, 4, 3), norm(4), conv(4, 3, 3)],
        make_recipe({"weight": LSQ}, [{"match": "4", "input": LSQ}], first_layer={"input": LSQ}),
        "layer 2: the channels of its input have different scales; quantize the input",
    ),
    "reflection": (
        [conv(2, 4, 3, padding=1, padding_mode="reflect")],
        INPUTS,
        "layer 0: padding_mode reflect; allowed: zeros",
    ),
    "linear over axes": (
        [nn.Flatten(2), nn.Linear(64, 5)],
        INPUTS,
        "layer 1: a linear layer over 2 axes; flatten first",
    ),
    "norm behind an activation": (
        [conv(2, 4, 3), nn.ReLU(), norm(4)],
        INPUTS,
        "norm 2: it follows an activation that is not quantized; quantize the activation's output",
    ),
    "norm without statistics": (
        [conv(2, 4, 3), norm(4, track_running_stats=False)],
        INPUTS,
        "norm 1: it keeps no running statistics",
    ),
    "average of an activation": (
        [conv(2, 4, 3), nn.ReLU(), nn.AvgPool2d(2)],
        INPUTS,
        "2: an average of an activation that is not quantized; quantize the activation's output",
    ),
    "average over a border": (
        [conv(2, 4, 3), nn.AvgPool2d(3, 2, 1)],
        INPUTS,
        "1: an average over a border of values with an offset; quantize them first",
    ),
    "average without its border": (
        [conv(2, 4, 3), nn.AvgPool2d(3, 2, 1, count_include_pad=False)],
        INPUTS,
        "module 1: an average that leaves its border out; count_include_pad=True",
    ),
    "average with ceil": (
        [conv(2, 4, 3), nn.AvgPool2d(4, ceil_mode=True)],
        INPUTS,
        "module 1: an average with ceil_mode or a divisor of its own",
    ),
    "average of windows that differ": (
        [conv(2, 4, 3), nn.AdaptiveAvgPool2d(4)],
        INPUTS,
        "1: an average of 6x6 to 4x4: windows differ",
    ),
    "maximum of windows that differ": (
        [conv(2, 4, 3), nn.AdaptiveMaxPool2d(4)],
        INPUTS,
        "module 1: windows of different sizes",
    ),
    "windows of border alone": (
        [conv(2, 4, 6), nn.MaxPool2d(2, padding=1, dilation=4), nn.ReLU()],
        INPUTS,
        "1: has windows that see the border alone; take less padding",
    ),
    "a border that is not 0": (
        [conv(2, 4, 3), nn.ConstantPad2d(1, 0.5)],
        INPUTS,
        "module 1: a border of 0.5; allowed: 0",
    ),
    "a border below 0": (
        [conv(2, 4, 3, bias=False), nn.ZeroPad2d((0, -1, 0, 0))],
        INPUTS,
        "1: a border below 0, which crops; allowed: 0 or more",
    ),
    "a border around sums": (
        [conv(2, 4, 3), nn.ZeroPad2d(1)],
        INPUTS,
        "1: a border of 0 around values that are not quantized; quantize them first",
    ),
    "bilinear": (
        [conv(2, 4, 3), nn.Upsample(scale_factor=2, mode="bilinear")],
        INPUTS,
        "module 1: allowed: mode nearest with whole factors",
    ),
    "fraction of a factor": (
        [conv(2, 4, 3), nn.Upsample(scale_factor=1.5)],
        INPUTS,
        "module 1: allowed: mode nearest with whole factors",
    ),
    "enlarged row": (
        [nn.Flatten(2), nn.Upsample(scale_factor=2)],
        make_recipe({"weight": LSQ, "input": LSQ}),
        "module 1: allowed: images",
    ),
    "negative slope": (
        [conv(2, 4, 3), nn.LeakyReLU(-0.1)],
        INPUTS,
        "module 1: a slope that is not above 0 is no rising function",
    ),
    "softmax": (
        [nn.Sequential(conv(2, 4, 3), nn.Softmax(1))],
        INPUTS,
        "module 0.1 (Softmax): not an operation on integers; allowed beside convolutions, linear "
        "layers and batch norms: ReLU, ReLU6, Hardtanh, LeakyReLU, PReLU, MaxPool1d, MaxPool2d, "
        "AvgPool2d, AdaptiveAvgPool2d, AdaptiveMaxPool2d, Flatten, Unflatten, ZeroPad2d, "
        "ConstantPad2d, Upsample",
    ),
    "scale of inputs": (
        [conv(2, 4, 3), norm(4), conv(4, 4, 3)],
        make_recipe({"weight": LSQ}, [{"match": "2", "input": XNOR}, {"match": "4", "input": LSQ}]),
        "2.input: XNOR scales the layer's output by its input, pixel by pixel; turn that scale off",
    ),
}


@pytest.mark.parametrize("name", CHAINS)
def test_modules(name):
    modules, recipe, text = CHAINS[name]
    found = faults_of(chain(*modules), recipe)
    assert found == [text]


def test_sums_beyond_32_bits():
    """255 times 700 inputs, times the 8 bits of two layers of 700 inputs each."""
    network = chain(nn.Flatten(), nn.Linear(128, 700), nn.Linear(700, 700))
    for module in network[1:3]:
        nn.init.constant_(module.weight, 0.5)
    weight = {"quantizer": "uniform", "bits": 8, "symmetric": True}
    recipe = make_recipe({"weight": weight}, first_layer={"input": IMAGE_BITS})
    model, _, _ = prepare(network, recipe, SHAPE)
    steps = [float(each.planes().steps) for _, slot, each in quantizers(model) if slot == "weight"]
    levels = [round(model[at].weight.max().item() / steps[at - 1]) for at in (1, 2)]
    (image,) = (each for _, slot, each in quantizers(model) if slot == "input")
    most = max(abs(image.grid().integers - image.grid().zero_point).tolist())
    sums = most * 128 * levels[0] * 700 * levels[1]
    assert sums >= 1 << 31
    with pytest.raises(qcli.ExportError) as caught:
        lower(model, SHAPE, PIXELS, {})
    assert f"2: sums reach {sums:,}, more than 32 bits hold" in caught.value.faults


CALLS = {
    "unknown": (lambda s, x: s.conv1(x).sin(), "call sin (sin): not an operation on integers"),
    "inside a module": (
        lambda s, x: s.block(s.conv1(x)),
        "call block.sigmoid (sigmoid): not an operation on integers",
    ),
    "parameter": (lambda s, x: s.conv1(x) + s.scale, "call add (add): takes scale, no activation"),
    "size": (lambda s, x: s.conv1(x) + x.size(1), "call add (add): takes size, no activation"),
    "shortcut": (
        lambda s, x: s.conv1(x) + s.act(s.conv2(x)),
        "call add: adds an activation that is not quantized (a float shortcut); quantize its "
        "output",
    ),
    "weighted sum": (
        lambda s, x: torch.add(s.conv1(x), s.conv2(x), alpha=2),
        "call add: a sum with alpha",
    ),
    "stretched sum": (
        lambda s, x: s.conv1(x) + s.pool(s.conv2(x)),
        "call add: adds shapes (4, 6, 6) and (4, 1, 1)",
    ),
    "join of pixels": (
        lambda s, x: torch.cat([s.conv1(x), s.conv2(x)], 2),
        "call cat: joins along another axis than the channels",
    ),
    "join of an activation": (
        lambda s, x: torch.cat([s.conv1(x), s.act(s.conv2(x))], 1),
        "cat: joins an activation that is not quantized; quantize its output",
    ),
    "join of a sum": (
        lambda s, x: torch.cat([s.conv1(x), s.plain(x) + s.conv2(x)], 1),
        "cat: joins quantized values and sums; quantize the sums",
    ),
    "join by name": (
        lambda s, x: torch.cat(tensors=[s.conv1(x), s.conv2(x)], dim=1),
        "call cat (cat): give its input by position, not by name",
    ),
    "maximum of a sum": (
        lambda s, x: F.max_pool2d(s.conv1(x) + s.conv2(x), 2),
        "max_pool2d: the greatest of sums that are not quantized; quantize them first",
    ),
    "maximum with the image": (
        lambda s, x: F.max_pool2d(s.image(x)[:, :, ::2, ::2] + s.mixed(x), 2),
        "max_pool2d: the greatest of sums that are not quantized; quantize them first",
    ),
    "crop": (
        lambda s, x: s.conv1(x)[:, :, 1:, :],
        "call getitem: allowed of indices: every n-th pixel, x[:, :, ::n, ::n]",
    ),
    "channels": (
        lambda s, x: s.conv1(x)[:, ::2],
        "call getitem: allowed of indices: every n-th pixel, x[:, :, ::n, ::n]",
    ),
    "one pixel": (
        lambda s, x: s.conv1(x)[..., 0],
        "call getitem: allowed of indices: every n-th pixel, x[:, :, ::n, ::n]",
    ),
    "mean of a row": (
        lambda s, x: s.conv1(x).mean(3),
        "call mean: allowed: a mean over height and width",
    ),
    "moved images": (
        lambda s, x: s.conv1(x).transpose(0, 1).transpose(0, 1),
        "call transpose: moves the axis of images",
    ),
    "mixed images": (
        lambda s, x: s.conv1(x).reshape(-1, 72).reshape(-1, 144),
        "call reshape: mixes images, or leaves them no channels",
    ),
    "moved channels": (
        lambda s, x: s.norm(s.conv1(x)).permute(0, 2, 1, 3),
        "permute: moves channels of different scales; quantize them first",
    ),
    "moved slopes": (
        lambda s, x: s.prelu(s.plain(x)).permute(0, 2, 1, 3),
        "permute: moves channels of different scales; quantize them first",
    ),
    "mixed slopes": (
        lambda s, x: s.prelu(s.plain(x)).reshape(x.size(0), 6, 4, 6),
        "reshape: mixes channels of different scales; quantize them first",
    ),
    "mixed channels": (
        lambda s, x: s.norm(s.conv1(x)).reshape(x.size(0), 6, 4, 6),
        "reshape: mixes channels of different scales; quantize them first",
    ),
    "reflected": (
        lambda s, x: F.pad(s.conv1(x), (1, 1, 0, 0), mode="reflect"),
        "call pad: allowed: a border of 0",
    ),
    "a border of 1": (
        lambda s, x: F.pad(s.conv1(x), (1, 1), value=1.0),
        "call pad: allowed: a border of 0",
    ),
    "dropout for ever": (
        lambda s, x: F.dropout(s.conv1(x), 0.5),
        "call dropout: drops values in eval mode, too; pass training=self.training",
    ),
    "changed in place": (
        lambda s, x: changed(s.conv1(x)),
        "call add: reads a tensor that was changed in place after it was made; set inplace=False",
    ),
    "view changed in place": (
        lambda s, x: changed(s.conv1(x), lambda y: y.view(y.size(0), 4, 6, 6)),
        "call add: reads a tensor that was changed in place after it was made; set inplace=False",
    ),
    "two inputs": (
        lambda s, x: s.pair(s.conv1(x), s.conv2(x)),
        "module pair (Bilinear): allowed: one input",
    ),
    "a module of a parameter": (
        lambda s, x: s.act(s.scale) + s.conv1(x),
        "module act (ReLU): its input is no activation",
    ),
}


def changed(x, view=lambda y: y):
    y = F.relu(view(x), inplace=True)
    return y + x


class Sigmoid(nn.Module):
    def forward(self, x):
        return torch.sigmoid(x)


@pytest.mark.parametrize("name", CALLS)
def test_calls(name):
    call, text = CALLS[name]
    torch.manual_seed(0)
    prelu = nn.PReLU(4)
    prelu.weight.data = torch.tensor([0.1, 0.2, 0.3, 0.4])
    network = Calls(
        lambda s, x: s.fc(call(s, x).flatten(1)),
        image=nn.Identity(),
        conv1=conv(2, 4, 3),
        conv2=conv(2, 4, 3),
        plain=conv(2, 4, 3, bias=False),
        mixed=conv(2, 2, 1, stride=2),
        act=nn.ReLU(),
        prelu=prelu,
        norm=norm(4),
        pool=nn.AdaptiveAvgPool2d(1),
        block=Sigmoid(),
        pair=nn.Bilinear(6, 6, 6),
        fc=nn.Identity(),
    )
    network.scale = nn.Parameter(torch.ones(4, 6, 6))
    network.fc = nn.Linear(network.eval()(torch.zeros(2, *SHAPE)).shape[1], 3)
    used = {name for name in ("conv1", "conv2", "plain", "mixed") if name in call.__code__.co_names}
    rules = [{"match": name, "input": IMAGE_BITS} for name in sorted(used - {"mixed"})]
    rules.append({"match": "fc", "input": LSQ})
    assert faults_of(network, make_recipe({"weight": LSQ}, rules))[0] == text


def test_a_maximum_of_levels_that_fall():
    """A norm turns some channels of levels on no grid."""
    recipe = make_recipe(
        {"weight": LSQ, "output": {"quantizer": "lq_nets", "bits": 2}},
        [{"match": "5", "input": LSQ}],
        first_layer={"input": IMAGE_BITS},
    )
    network = chain(conv(2, 4, 3), nn.ReLU(), norm(4), nn.MaxPool2d(2))
    assert faults_of(network, recipe) == [
        "3: the greatest of sums that are not quantized; quantize them first"
    ]


class Doubled(nn.Conv2d):
    def forward(self, x):
        return 2 * super().forward(x)


class Standardized(nn.Conv2d):
    def _conv_forward(self, x, weight, bias):
        return super()._conv_forward(x, weight - weight.mean(), bias)


class Absolute(nn.ReLU):
    def forward(self, x):
        return x.abs()


@pytest.mark.parametrize(
    ("module", "text"),
    [
        (Doubled(2, 4, 3), "ParametrizedDoubled): computes something else than torch's Conv2d"),
        (
            Standardized(2, 4, 3),
            "ParametrizedStandardized): computes something else than torch's Conv2d",
        ),
        (Absolute(), "Absolute): computes something else than torch's ReLU"),
    ],
)
def test_modules_with_a_forward_of_their_own(module, text):
    recipe = OUTPUTS
    if isinstance(module, nn.Conv2d):
        recipe = make_recipe({"weight": LSQ}, [{"match": "2", "input": LSQ}])
    assert faults_of(chain(module, *([conv(2, 4, 3)] if recipe is OUTPUTS else [])), recipe)[0] == (
        f"module 0 ({text}; use that"
    )


def small():
    torch.manual_seed(0)
    return chain(conv(2, 4, 3), norm(4), nn.ReLU(), conv(4, 3, 3))


HOOK = "a forward hook that is not qcli's; make it a module of its own"


@pytest.mark.parametrize(
    ("path", "place"), [("2", "2"), ("3", "3"), ("", "of the whole network"), ("6", "6")]
)
@pytest.mark.parametrize("register", ["register_forward_hook", "register_forward_pre_hook"])
def test_foreign_hooks(path, place, register):
    network = nn.Sequential(*small(), nn.Sequential(nn.Identity()))

    def attach(model):
        getattr(model.get_submodule(path), register)(lambda *arguments: None)

    assert faults_of(network, change=attach) == [f"module {place}: {HOOK}"]


def test_a_foreign_parametrization():
    def attach(model):
        parametrizations.spectral_norm(model[3])

    assert faults_of(small(), change=attach) == [
        "layer 3: its weight is parametrized by LSQ, _SpectralNorm; allowed: one weight quantizer"
    ]


@pytest.mark.parametrize(
    "place", ["1.weight", "1.running_var", "3.bias", "3.input_quantizer.step_size"]
)
@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_a_network_that_diverged(place, number):
    def spoil(model):
        model.state_dict()[place].fill_(number)

    assert faults_of(small(), change=spoil) == [
        f"{place}: not finite: the network diverged; train it anew"
    ]


def test_a_norm_that_divides_by_0():
    def spoil(model):
        model[1].running_var.zero_()
        model[1].eps = 0.0

    assert faults_of(small(), change=spoil) == [
        "3.input: what it receives is not finite: the network diverged; train it anew"
    ]


def test_a_module_that_is_called_twice():
    network = Calls(lambda s, x: s.fc(s.act(s.conv(x)).flatten(1)))
    network.conv, network.act, network.fc = conv(2, 4, 3), nn.ReLU(), nn.Linear(144, 3)

    def call_again(model):
        model.function = lambda s, x: s.fc(s.act(s.act(s.conv(x))).flatten(1))

    assert faults_of(network, OUTPUTS, call_again) == [
        "module act: called 2 times with one quantizer; give each place a module of its own"
    ]


def test_a_block_that_is_called_twice():
    network = Calls(lambda s, x: s.fc(s.block(x).flatten(1)))
    network.block = nn.Sequential(conv(2, 2, 3, padding=1), nn.ReLU())
    network.fc = nn.Linear(128, 3)
    recipe = make_recipe({}, [{"match": "block", "output": LSQ}])

    def call_again(model):
        model.function = lambda s, x: s.fc(s.block(s.block(x)).flatten(1))

    assert (
        "module block.output_quantizer: called 2 times with one quantizer; "
        "give each place a module of its own"
    ) in faults_of(network, recipe, call_again)


RESULTS = {
    "control flow": (
        lambda s, x: s.conv(x) if x.sum() > 0 else x,
        "the network cannot be traced: symbolically traced variables cannot be used as inputs to "
        "control flow",
    ),
    "tuple": (lambda s, x: (s.conv(x), x), "the network returns more than its scores"),
    "dictionary": (lambda s, x: {"scores": s.conv(x)}, "the network returns more than its scores"),
    "axes": (
        lambda s, x: s.conv(x),
        "the network returns 3 axes for each image, not [classes]",
    ),
    "activation": (
        lambda s, x: s.conv(x).flatten(1).relu(),
        "the network ends with an activation; leave it out: it changes no order",
    ),
    "no scores": (
        lambda s, x: s.scale,
        "the network returns something else than scores of its image",
    ),
    "indices": (
        lambda s, x: s.pool(s.conv(x)),
        "call pool.pool: returns more than one tensor",
    ),
}


@pytest.mark.parametrize("name", RESULTS)
def test_results(name):
    function, text = RESULTS[name]
    network = Calls(lambda s, x: s.conv(x), conv=conv(2, 4, 3))
    network.pool = nn.MaxPool2d(2, return_indices=True)
    network.scale = nn.Parameter(torch.ones(2, 4))

    def change(model):
        model.function = function

    assert faults_of(network, INPUTS, change)[0] == text


def test_more_than_images():
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = conv(2, 4, 3)

        def forward(self, x, mask=None):
            return self.conv(x).flatten(1) if mask is None else x

    assert faults_of(Masked()) == ["the network takes x, mask; allowed: one batch of images"]


def test_all_faults_at_once():
    """Also behind a fault, and each once: what follows is looked at as if it were integers."""
    network = chain(
        conv(2, 4, 3),
        nn.Sequential(nn.Softmax(1), nn.GELU()),
        conv(4, 4, 3, padding=1),
        nn.ReLU(),
        nn.AvgPool2d(2),
        norm(4),
        nn.Sequential(Calls(lambda s, x: x.chunk(2, 1)[0] * 2)),
        conv(2, 4, 1),
        nn.Tanh(),
    )
    rules = [{"match": "2", "weight": LSQ}]
    found = faults_of(network, make_recipe({"input": LSQ}, rules))
    assert [fault.split(";")[0] for fault in found] == [
        "layer 0: its weight is float",
        "module 1.0 (Softmax): not an operation on integers",
        "module 1.1 (GELU): not an operation on integers",
        "4: an average of an activation that is not quantized",
        "call 6.0.chunk (chunk): not an operation on integers",
        "call 6.0.getitem (getitem): takes chunk, no activation",
        "call 6.0.mul (mul): not an operation on integers",
        "layer 7: its weight is float",
        "module 8 (Tanh): not an operation on integers",
        "layer 10: its weight is float",
    ]


def test_advice_comes_last():
    model, _, _ = prepare(chain(conv(2, 4, 3)), make_recipe({"input": LSQ}), SHAPE)
    with pytest.raises(qcli.ExportError) as caught:
        lower(model, SHAPE, PIXELS, {})
    assert caught.value.faults[-1] == ADVICE
