"""The sizes of the bundled networks, from the papers' and the libraries' own networks.

A row: name, options, number of classes, image shape; all learnable numbers, the weights of all
convolutions and linear layers, those of the first and of the last layer; the millions of
multiply-accumulates for one image, None where no one says.
"""

from __future__ import annotations

from typing import Any

Shape = tuple[int, int, int]
Row = tuple[str, dict[str, Any], int, Shape, int, int, int, int, float | None]

MNIST, MNIST_PADDED, CIFAR = (1, 28, 28), (1, 32, 32), (3, 32, 32)
IMAGENET, IMAGENET_227 = (3, 224, 224), (3, 227, 227)

LENETS: list[Row] = [
    ("lenet5", {}, 10, MNIST, 583_146, 581_408, 800, 5_120, 4.27),
    ("lenet5", {"batch_norm": False}, 10, MNIST, 582_026, 581_408, 800, 5_120, 4.27),
    ("lenet5_caffe", {}, 10, MNIST, 431_080, 430_500, 500, 5_000, 2.29),
    ("lenet5_caffe", {"batch_norm": True}, 10, MNIST, 431_150, 430_500, 500, 5_000, 2.29),
    ("lenet5_classic", {}, 10, MNIST, 61_706, 61_470, 150, 840, 0.42),
    ("lenet5_classic", {}, 10, MNIST_PADDED, 61_706, 61_470, 150, 840, 0.42),
    ("lenet_n2d2", {}, 10, MNIST_PADDED, 61_754, 61_470, 150, 840, 0.42),
]

RESIDUAL: list[Row] = [
    ("resnet20", {}, 10, CIFAR, 269_722, 268_336, 432, 640, 40.55),
    ("resnet32", {}, 10, CIFAR, 464_154, 461_872, 432, 640, 68.86),
    ("resnet44", {}, 10, CIFAR, 658_586, 655_408, 432, 640, 97.17),
    ("resnet50_6n2", {}, 10, CIFAR, 755_802, 752_176, 432, 640, 111.33),
    ("resnet56", {}, 10, CIFAR, 853_018, 848_944, 432, 640, 125.49),
    ("resnet110", {}, 10, CIFAR, 1_727_962, 1_719_856, 432, 640, 252.89),
    ("resnet1202", {}, 10, CIFAR, 19_421_274, 19_331_632, 432, 640, None),
    ("resnet20", {}, 100, CIFAR, 275_572, 274_096, 432, 6_400, 40.56),
    ("resnet20", {}, 10, MNIST, 269_434, 268_048, 144, 640, 30.82),
    ("resnet18", {}, 1000, IMAGENET, 11_689_512, 11_678_912, 9_408, 512_000, 1814.07),
    ("resnet34", {}, 1000, IMAGENET, 21_797_672, 21_779_648, 9_408, 512_000, 3663.76),
    ("resnet50", {}, 1000, IMAGENET, 25_557_032, 25_502_912, 9_408, 2_048_000, 4089.18),
    ("resnet18", {}, 10, CIFAR, 11_173_962, 11_164_352, 1_728, 5_120, 555.42),
    ("resnet18", {"stem": "cifar"}, 100, CIFAR, 11_220_132, 11_210_432, 1_728, 51_200, 555.47),
    ("resnet50", {}, 10, CIFAR, 23_520_842, 23_467_712, 1_728, 20_480, 1297.83),
    ("resnet50", {"stem": "imagenet"}, 10, CIFAR, 23_528_522, 23_475_392, 9_408, 20_480, 83.43),
]

_WIDE = {"head": "cifar_wide"}
_NO_NORM = {"batch_norm": False}
_HEAD = {"head": "imagenet"}
PLAIN: list[Row] = [
    ("simplenet", {}, 10, CIFAR, 401_418, 399_712, 2_400, 10_240, 113.43),
    ("vgg_small", {}, 10, CIFAR, 4_660_106, 4_656_512, 3_456, 81_920, 607.60),
    ("vgg_small", {}, 100, CIFAR, 5_397_476, 5_393_792, 3_456, 819_200, 608.34),
    ("vgg7", {}, 10, CIFAR, 12_979_072, 12_973_440, 3_456, 10_240, 615.92),
    ("vgg16", {}, 10, CIFAR, 14_728_266, 14_715_584, 1_728, 5_120, 313.20),
    ("vgg16", {"conv_bias": False}, 10, CIFAR, 14_724_042, 14_715_584, 1_728, 5_120, 313.20),
    ("vgg16", _WIDE, 10, CIFAR, 15_253_578, 15_239_872, 1_728, 5_120, 313.73),
    ("vgg16", {**_WIDE, **_NO_NORM}, 10, CIFAR, 15_245_130, 15_239_872, 1_728, 5_120, 313.73),
    ("vgg16", {}, 1000, IMAGENET, 138_365_992, 138_344_128, 1_728, 4_096_000, 15470.26),
    ("vgg16", _NO_NORM, 1000, IMAGENET, 138_357_544, 138_344_128, 1_728, 4_096_000, 15470.26),
    ("vgg_variant", {}, 1000, IMAGENET, 138_041_800, 138_024_736, 14_112, 4_096_000, 10705.15),
    (
        *("vgg_variant", {"form": "hwgq"}, 1000, IMAGENET),
        *(138_025_736, 138_024_736, 14_112, 4_096_000, 10705.15),
    ),
]

ALEXNETS: list[Row] = [
    ("alexnet", {}, 1000, IMAGENET_227, 62_379_720, 62_367_776, 34_848, 4_096_000, 1135.26),
    (
        *("alexnet", {"form": "hwgq"}, 1000, IMAGENET_227),
        *(62_368_776, 62_367_776, 34_848, 4_096_000, 1135.26),
    ),
    ("alexnet_dorefa", {}, 1000, IMAGENET, 60_985_416, 60_961_280, 41_472, 4_096_000, 1937.08),
    ("alexnet_xnor", {}, 1000, IMAGENET, 62_397_672, 62_367_776, 34_848, 4_096_000, 1135.26),
    (
        *("alexnet_xnor", {"form": "pytorch"}, 1000, IMAGENET_227),
        *(62_415_592, 62_367_776, 34_848, 4_096_000, 1135.26),
    ),
    ("alexnet_torchvision", {}, 1000, IMAGENET, 61_110_184, 61_090_496, 23_232, 4_096_000, 714.19),
    (
        *("alexnet_torchvision", {"batch_norm": False}, 1000, IMAGENET),
        *(61_100_840, 61_090_496, 23_232, 4_096_000, 714.19),
    ),
]

_PAPER = {"branch": "5x5"}
INCEPTION: list[Row] = [
    ("googlenet", {}, 1000, IMAGENET, 6_624_904, 6_609_344, 9_408, 1_024_000, 1498.38),
    ("googlenet", _PAPER, 1000, IMAGENET, 7_005_832, 6_990_272, 9_408, 1_024_000, 1582.67),
    (
        *("googlenet", {**_PAPER, **_NO_NORM}, 1000, IMAGENET),
        *(6_998_552, 6_990_272, 9_408, 1_024_000, 1582.67),
    ),
    ("inception_v1", {}, 1000, IMAGENET, 6_624_904, 6_609_344, 9_408, 1_024_000, 1498.38),
    ("googlenet_variant", {}, 1000, IMAGENET, 12_268_808, 12_249_792, 9_408, 1_024_000, 3184.49),
]

_GLUON = {"keep_expansion": True}
MOBILE: list[Row] = [
    ("mobilenet_v1", {}, 1000, IMAGENET, 4_231_976, 4_209_088, 864, 1_024_000, 568.74),
    ("mobilenet_v1", {"width": 0.75}, 1000, IMAGENET, 2_585_560, 2_568_144, 648, 768_000, 325.40),
    ("mobilenet_v1", {"width": 0.5}, 1000, IMAGENET, 1_331_592, 1_319_648, 432, 512_000, 149.50),
    ("mobilenet_v1", {"width": 0.25}, 1000, IMAGENET, 470_072, 463_600, 216, 256_000, 41.03),
    ("mobilenet_v1", {}, 100, CIFAR, 3_309_476, 3_287_488, 864, 102_400, 11.69),
    ("mobilenet_v2", {}, 1000, IMAGENET, 3_504_872, 3_469_760, 864, 1_280_000, 300.77),
    ("mobilenet_v2", _GLUON, 1000, IMAGENET, 3_505_960, 3_470_784, 864, 1_280_000, 313.62),
]

PREACT: list[Row] = [
    ("resnet18_preact", {}, 1000, IMAGENET, 11_693_352, 11_678_912, 9_408, 512_000, 1814.07),
    ("resnet34_preact", {}, 1000, IMAGENET, 21_805_224, 21_779_648, 9_408, 512_000, 3663.76),
    ("bireal_resnet18", {}, 1000, IMAGENET, 11_689_512, 11_678_912, 9_408, 512_000, 1814.07),
]

PUBLISHED_COUNTS: list[Row] = [*LENETS, *RESIDUAL, *PLAIN, *ALEXNETS, *INCEPTION, *MOBILE, *PREACT]

# No one says how large these are.
UNPUBLISHED = {"resnet50_preact"}
