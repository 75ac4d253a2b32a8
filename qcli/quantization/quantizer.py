"""The contract of a quantizer: one class for weights, activations, annealing and search.

Shapes: B batch, C channels, O output channels, I input channels of a group, H W spatial, K levels
of a codebook.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from qcli.quantization.grid import Grid, Thresholds, find_thresholds, fit_grid
from qcli.quantization.planes import Planes, grid_plane, mask_planes
from qcli.recipe.schedule import Progress

FLOAT_BITS = 32


@dataclass(frozen=True)
class TensorInfo:
    """What a quantizer is told about the tensor it serves.

    Args:
        role: "weight", "input" or "output".
        shape: Of a weight, such as [O, I, H, W]; of an input or output, of one sample: [C, H, W].
        channel_axis: The axis of output channels of a weight (1 for transposed convolutions), or
            of the channels of a sample with its batch axis.
        layer: Dotted name of the module.
        fed_by: Class name of the module that makes the layer's input, where it is known.
        followed_by: Class name of the module that takes the layer's output, where it is known; of
            a norm also where a pool, a ReLU or a PReLU stands between.
        nonnegative: Whether an input or output is known to hold no negative value: it comes from
            a ReLU.
        pretrained: Whether the weights at hand were trained before.
    """

    role: str
    shape: tuple[int, ...]
    channel_axis: int = 0
    layer: str = ""
    fed_by: str | None = None
    followed_by: str | None = None
    nonnegative: bool = False
    pretrained: bool = False

    @property
    def before_norm(self) -> bool:
        """Whether a norm takes the layer's output, so that the scale of a weight is free."""
        return self.followed_by is not None and "Norm" in self.followed_by

    def channel_shape(self) -> tuple[int, ...]:
        """The shape of one value for each output channel that broadcasts over the weight."""
        return tuple(n if axis == self.channel_axis else 1 for axis, n in enumerate(self.shape))


@dataclass(frozen=True)
class ParameterDefaults:
    """How a quantizer's parameters are trained where the recipe says nothing.

    Args:
        weight_decay: None: the recipe's.
        lr_factor: Factor on the learning rate.
    """

    weight_decay: float | None = None
    lr_factor: float = 1.0


class Quantizer(nn.Module):
    """Maps a float tensor to the values that its hardware form can hold.

    A subclass writes `forward`, `codebook` and `codes`, and whatever else differs from what is
    here. Forward computes in float32 and returns the dtype that it was given. In eval mode it
    returns exactly what is deployed: `decode(codes(x))`, bit for bit.

    A number that is annealed lives in a 0-d buffer that `on_progress` fills: a Python attribute
    would compile a new graph at each change and be lost on resume.
    """

    #: By kind of parameter, "latent" and "quantizer": how it is trained. The recipe's groups win.
    #: A method whose defaults depend on the layer sets it in the constructor.
    parameter_defaults: Mapping[str, ParameterDefaults] = {
        "latent": ParameterDefaults(),
        "quantizer": ParameterDefaults(weight_decay=0.0),
    }
    #: Whether the method cuts negative inputs to 0 on purpose, in place of a ReLU (DoReFa, PACT):
    #: calibration refuses negative inputs of other quantizers without negative values.
    rectifies: ClassVar[bool] = False

    def __init__(self, info: TensorInfo) -> None:
        super().__init__()
        self.info = info

    def observe(self, x: Tensor) -> None:
        """Look at a real tensor before training: the weight once, or a layer's input per batch."""

    def encode(self, weight: Tensor) -> Tensor:
        """Return the latent, the tensor that is trained, of a float weight."""
        return weight

    def forward(self, latent: Tensor) -> Tensor:
        """Return the quantized tensor, of the dtype of `latent`."""
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def on_progress(self, progress: Progress) -> None:
        """Set annealed numbers before an optimizer step: a pure function of `progress`."""

    def after_step(self, latent: Tensor | None) -> None:
        """Mend state after an optimizer step: positivity, projection, gathered statistics.

        Args:
            latent: The weight's latent, which may be changed in place; None for inputs, outputs.
        """

    def measure(self, latent: Tensor) -> None:
        """Take what is kept beside a weight's latent, such as its scale, from the latent anew.

        A pure function of the latent, which changes buffers and nothing else: it is called in
        place of `after_step` where an average stands in for the latent. What follows the latents
        of many steps, as the basis of LQ-Nets does, stays as it is.
        """

    def scale_output(self, layer: nn.Module, output: Tensor) -> Tensor:
        """Change what a layer returns whose input this quantizes: XNOR-Net's scale of inputs."""
        return output

    def codebook(self) -> Tensor:
        """Return every value that eval mode can emit: float32 [K], or [O, K].

        No value at all, [0], says that nothing is quantized: 32 bits, or a stage before that.
        """
        raise NotImplementedError(f"{type(self).__name__} has no codebook")

    def codes(self, latent: Tensor) -> Tensor:
        """Return the int32 index into the codebook of every element, of the quantized shape."""
        raise NotImplementedError(f"{type(self).__name__} has no codes")

    def decode(self, codes: Tensor) -> Tensor:
        """Return the float32 values of codes."""
        book = self.codebook()
        if book.dim() == 1:
            return book[codes.long()]
        axis = self.info.channel_axis
        rows = codes.long().movedim(axis, 0)
        values = torch.gather(book, 1, rows.reshape(len(book), -1))
        return values.reshape(rows.shape).movedim(0, axis)

    def continuous(self, latent: Tensor) -> Tensor:
        """Return what is rounded, on the scale of the codebook: nothing but reports look at it.

        A method whose latent has another scale than its levels, or another shape than what it
        quantizes, returns what stands between: a tensor of the quantized shape.
        """
        return latent

    def grid(self) -> Grid | None:
        """Return the codebook as integers times a step; None: it lies on no grid."""
        return fit_grid(self.codebook().detach()) if self.quantizes else None

    def planes(self) -> Planes | None:
        """Return the codebook as a sum of integer planes; None: it takes more than 16.

        One plane where there is a grid, else a mask for each value that is not 0.
        """
        if not self.quantizes:
            return None
        grid = self.grid()
        return grid_plane(grid) if grid else mask_planes(self.codebook().detach())

    def thresholds(self) -> Thresholds | None:
        """Return the boundaries between codes for inputs and outputs; None for weights."""
        if self.info.role == "weight" or not self.quantizes:
            return None
        device = self.codebook().device
        with torch.no_grad():
            return find_thresholds(lambda x: self.codes(x.to(device)), self.codebook().shape[-1])

    def health(self, latent: Tensor | None) -> Mapping[str, float]:
        """Return numbers worth watching while training, by name; nothing is changed or drawn.

        All are recorded. Judged are `step`, `clip`, `scale` and `gain`, the smallest of the layer,
        which must stay positive, and `entropy`, 0..1, how undecided a search is, which must fall.

        Args:
            latent: The weight's latent; None for inputs, outputs.
        """
        return {}

    @property
    def scales_output(self) -> bool:
        """Whether `scale_output` changes anything."""
        return type(self).scale_output is not Quantizer.scale_output

    @property
    def quantizes(self) -> bool:
        """Whether there is a codebook; without one, values are float."""
        return self.codebook().numel() > 0

    @property
    def bits(self) -> int:
        """The width of a code; 32 for float."""
        levels = self.codebook().shape[-1]
        return max(1, (levels - 1).bit_length()) if levels else FLOAT_BITS

    def right_inverse(self, weight: Tensor) -> Tensor:
        """Observe and encode: what torch's parametrization calls when a weight is assigned."""
        with torch.no_grad():
            self.observe(weight.detach())
            return self.encode(weight.detach())

    def extra_repr(self) -> str:
        """Name the layer and the slot, for `print(model)`."""
        return f"{self.info.layer}.{self.info.role}"
