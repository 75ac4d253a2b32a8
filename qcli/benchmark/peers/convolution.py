"""A convolution that quantizes its weight and its input, in place of a float one."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn


class QuantizedConvolution(nn.Module):
    """Computes a float convolution of quantized operands.

    Args:
        float_layer: The layer whose place it takes.
        weight_quantizer: Makes the weight [O, I, H, W] of its parameters and the latent weight.
        input_quantizer: Maps [B, C, H, W] to itself; None: inputs stay float.
    """

    def __init__(
        self,
        float_layer: nn.Conv2d,
        weight_quantizer: nn.Module,
        input_quantizer: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.stride, self.padding = float_layer.stride, float_layer.padding
        self.latent = nn.Parameter(float_layer.weight.detach().clone())
        self.weight_quantizer = weight_quantizer
        self.input_quantizer = input_quantizer or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, I, H, W] to [B, O, H / stride, W / stride]."""
        weight = self.weight_quantizer(self.latent)
        return nn.functional.conv2d(
            self.input_quantizer(x), weight, stride=self.stride, padding=self.padding
        )


def replace_convolutions(model: nn.Module, make: Callable[[nn.Conv2d], nn.Module]) -> None:
    """Replace, in place, every convolution behind the first one."""
    names = [name for name, layer in model.named_modules() if isinstance(layer, nn.Conv2d)]
    for name in names[1:]:
        parent, _, own = name.rpartition(".")
        owner = model.get_submodule(parent)
        layer = owner.get_submodule(own)
        assert isinstance(layer, nn.Conv2d)
        setattr(owner, own, make(layer))
