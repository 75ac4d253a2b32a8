"""Put planned quantizers into a network, and bake their values out of it.

Weights use torch's parametrizations, whose right inverse is `observe` then `encode`; inputs and
outputs use forward hooks. The rest of qcli knows a network's quantizers only through this module.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from qcli.errors import PlanError
from qcli.quantization.plan import Plan
from qcli.quantization.quantizer import Quantizer

INPUT = "input_quantizer"
OUTPUT = "output_quantizer"


def quantize(model: nn.Module, plan: Plan) -> nn.Module:
    """Put the planned quantizers into a float network, in place, and return it.

    The weights at hand are observed and encoded; inputs and outputs are not calibrated yet.

    Raises:
        PlanError: A quantizer cannot serve its layer.
    """
    modules = dict(model.named_modules())
    device = next((each.device for each in model.parameters()), torch.device("cpu"))
    for layer, slot, planned in plan.slots():
        module = modules[layer]
        quantizer = planned.build().to(device).train(module.training)
        if slot == "weight":
            _parametrize(module, quantizer, layer)
        elif slot == "input":
            module.add_module(INPUT, quantizer)
            module.register_forward_pre_hook(_quantize_input)
            if quantizer.scales_output:
                module.register_forward_hook(_scale_output)
        else:
            module.add_module(OUTPUT, quantizer)
            # A row of modules calls its last one, which the quantizer now is.
            if type(module).forward is not nn.Sequential.forward:
                module.register_forward_hook(_quantize_output)
    return model


def _parametrize(module: nn.Module, quantizer: Quantizer, layer: str) -> None:
    try:
        parametrize.register_parametrization(module, "weight", quantizer)
    except (RuntimeError, ValueError) as error:
        name = type(quantizer).__name__
        raise PlanError([f"layer {layer}, weight: {name} does not fit: {error}"]) from None


def _quantize_input(module: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    return (module.input_quantizer(args[0]), *args[1:])


def _scale_output(module: Any, args: tuple[Any, ...], output: Tensor) -> Any:
    return module.input_quantizer.scale_output(module, output)


def _quantize_output(module: Any, args: tuple[Any, ...], output: Tensor) -> Any:
    return module.output_quantizer(output)


def quantizers(model: nn.Module) -> Iterator[tuple[str, str, Quantizer]]:
    """Yield the layer, the slot and the quantizer of everything that is quantized."""
    for name, module in model.named_modules():
        if isinstance(module, parametrize.ParametrizationList):
            yield name.removesuffix(".parametrizations.weight"), "weight", _first(module)
        for slot, attribute in (("input", INPUT), ("output", OUTPUT)):
            quantizer = getattr(module, attribute, None)
            if isinstance(quantizer, Quantizer):
                yield name, slot, quantizer


def _first(parametrization: parametrize.ParametrizationList) -> Quantizer:
    quantizer = parametrization[0]
    assert isinstance(quantizer, Quantizer)
    return quantizer


def latents(model: nn.Module) -> dict[Quantizer, nn.Parameter]:
    """Return the latent that is trained behind each quantized weight."""
    found: dict[Quantizer, nn.Parameter] = {}
    for module in model.modules():
        if isinstance(module, parametrize.ParametrizationList):
            original: Any = module.original
            found[_first(module)] = original
    return found


@torch.no_grad()
def bake(model: nn.Module) -> dict[str, Tensor]:
    """Return the state of the plain architecture with the weights that eval mode uses.

    The keys are those of the float network: a strict load into it gives the deployed weights.
    """
    training = model.training
    model.eval()
    state = {
        name: value.detach().clone()
        for name, value in model.state_dict().items()
        if not {"parametrizations", INPUT, OUTPUT} & set(name.split("."))
    }
    for name, module in model.named_modules():
        if parametrize.is_parametrized(module, "weight"):
            weight: Any = module.weight
            state[f"{name}.weight" if name else "weight"] = weight.detach().clone()
    model.train(training)
    return state
