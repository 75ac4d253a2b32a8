"""`qcli infer`: image files through a packed artifact, without torch."""

import json
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from graphs import GraphMaker, draw_images
from PIL import Image

import qcli
from qcli.cli import cli
from qcli.deployment.execution import run_graph
from qcli.deployment.image_files import read_images
from qcli.deployment.packed import write_graph
from qcli.training.transforms import evaluation_transform

CLASSES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def small_graph(image_shape=(1, 12, 10), **facts):
    make = GraphMaker(image_shape)
    x = make.convolution("image", "first", 4, list(range(-7, 8)))
    x = make.quantize(x, "first.output", list(range(16)))
    x = make.add_reshape(x, "flat", (int(np.prod(make.tensors[x].shape)),))
    make.logits(make.linear(x, "last", 10, [-1, 1]))
    return make.graph(**facts)


def save_image(path, pixels):
    """Write [C, H, W] as an image file of the kind that the name asks for."""
    Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)).save(path)
    return path


def invoke(*arguments):
    """Run a verb that succeeds; return its stdout."""
    result = CliRunner().invoke(cli, ["infer", *map(str, arguments)], catch_exceptions=False)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


def refuse(error, *arguments):
    """Run a verb that fails with this error; return its lines."""
    with pytest.raises(error) as caught:
        CliRunner().invoke(cli, ["infer", *map(str, arguments)], catch_exceptions=False)
    return str(caught.value).splitlines()


@pytest.fixture
def artifact(tmp_path):
    """A packed file with class names, and the graph in it."""
    graph = small_graph(classes=CLASSES)
    write_graph(graph, tmp_path / "network.qcli")
    return tmp_path / "network.qcli", graph


def test_scores_are_those_of_the_reference(artifact, tmp_path):
    path, graph = artifact
    images = draw_images(graph, 3)
    files = [save_image(tmp_path / f"{place}.png", image) for place, image in enumerate(images)]
    document = json.loads(invoke(path, *files, "--json", "--top", "10"))
    assert document.keys() == {"schema_version", "artifact", "images"}
    assert (document["schema_version"], document["artifact"]) == (1, str(path))
    assert [row["image"] for row in document["images"]] == [str(file) for file in files]
    logits = run_graph(graph, images)["logits"]
    for row, wanted in zip(document["images"], logits.tolist(), strict=True):
        assert [each["name"] for each in row["classes"]] == [
            CLASSES[each["class"]] for each in row["classes"]
        ]
        order = [each["class"] for each in row["classes"]]
        assert order == sorted(range(10), key=lambda index: (-wanted[index], index))
        scores = [each["score"] for each in row["classes"]]
        assert scores == [wanted[index] / 2**graph.logits.shift for index in order]


def test_text_names_the_likeliest_classes(artifact, tmp_path):
    path, graph = artifact
    (image,) = draw_images(graph, 1)
    file = save_image(tmp_path / "image.png", image)
    (wanted,) = run_graph(graph, image[None])["logits"].tolist()
    best = CLASSES[wanted.index(max(wanted))]
    for arguments, count in [((), 5), (("--top", "1"), 1), (("--top", "99"), 10)]:
        text = invoke(path, file, *arguments)
        assert re.fullmatch(rf"{re.escape(str(file))}: {best} \(.*\)\n", text)
        assert len(re.findall(r"\w+ \(-?[\d.e+-]+\)", text)) == count


def test_equal_scores_go_to_the_first_class(tmp_path):
    graph = small_graph()
    bias = np.array([1, 3, 2, 3, 3, 0, 0, 0, 0, 0])
    logits = replace(graph.logits, multipliers=graph.logits.multipliers * 0, bias=bias)
    write_graph(replace(graph, nodes=(*graph.nodes[:-1], logits)), tmp_path / "network.qcli")
    file = save_image(tmp_path / "image.png", draw_images(graph, 1)[0])
    assert invoke(tmp_path / "network.qcli", file, "--top", "4").partition(": ")[2] == (
        "class 1 (2.861e-06), class 3 (2.861e-06), class 4 (2.861e-06), class 2 (1.907e-06)\n"
    )


def test_arrays_of_pixels(artifact, tmp_path):
    path, graph = artifact
    images = draw_images(graph, 20)
    np.save(tmp_path / "all.npy", images)
    np.save(tmp_path / "one.npy", images[7])
    rows = json.loads(invoke(path, tmp_path / "all.npy", tmp_path / "one.npy", "--json"))["images"]
    assert [row["image"] for row in rows] == [
        *(f"{tmp_path}/all.npy[{place}]" for place in range(20)),
        f"{tmp_path}/one.npy",
    ]
    assert rows[7]["classes"] == rows[20]["classes"]
    best = [row["classes"][0]["class"] for row in rows[:20]]
    assert best == run_graph(graph, images)["logits"].argmax(1).tolist()


def test_torch_stays_away(artifact, tmp_path):
    path, graph = artifact
    file = save_image(tmp_path / "image.png", draw_images(graph, 1)[0])
    code = (
        "import sys\nfrom qcli.cli import main\ntry: main()\n"
        "except SystemExit as end: assert end.code == 0\n"
        "assert not {'torch', 'onnx', 'matplotlib'} & set(sys.modules)"
    )
    command = [sys.executable, "-c", code, "infer", str(path), str(file)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == invoke(path, file)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
@pytest.mark.parametrize("channels", [1, 3])
def test_gray_levels_survive_every_color_mode(mode, channels, tmp_path):
    """Black and white squares are the same in all modes."""
    pixels = np.kron(np.indices((6, 5)).sum(0) % 2, np.ones((2, 2))).astype(np.uint8) * 255
    Image.fromarray(pixels).convert(mode).save(tmp_path / "image.tiff")
    _, found = read_images([tmp_path / "image.tiff"], small_graph((channels, 12, 10)))
    np.testing.assert_array_equal(found, np.broadcast_to(pixels, (1, channels, 12, 10)))


def test_sixteen_bits_are_scaled(tmp_path):
    pixels = np.arange(120, dtype=np.uint16).reshape(12, 10) * 546
    Image.fromarray(pixels).save(tmp_path / "image.png")
    _, found = read_images([tmp_path / "image.png"], small_graph())
    np.testing.assert_array_equal(found[0, 0], pixels // 256)


def test_gray_data_of_a_network_for_colors(tmp_path):
    """A file with colors becomes gray first, as the data set's images were."""
    pixels = draw_images(small_graph((3, 12, 10)), 1)[0]
    file = save_image(tmp_path / "image.png", pixels)
    _, found = read_images([file], small_graph((3, 12, 10), image={"channels": 1}))
    assert (found[:, 0] == found[:, 1]).all()
    assert (found[:, 0] == found[:, 2]).all()
    _, found = read_images([file], small_graph((3, 12, 10)))
    np.testing.assert_array_equal(found[0], pixels)


@pytest.mark.parametrize("size", [(40, 61), (61, 40), (33, 33), (12, 100), (12, 10)])
@pytest.mark.parametrize("crop", ["resize_center", "squash_center"])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_images_are_fitted_as_test_images_are(size, crop, interpolation, tmp_path):
    """The oracle is torchvision; both round, so that a pixel may differ by one."""
    wave = np.add.outer(np.sin(np.arange(size[0]) / 3), np.cos(np.arange(size[1]) / 4))
    pixels = np.stack([wave * scale for scale in (60, 40, -50)]) + 128
    file = save_image(tmp_path / "image.png", pixels.astype(np.uint8))
    resize = 14 if crop == "resize_center" else [14, 14]
    rule = {"resize": resize, "crop": [12, 10], "interpolation": interpolation, "channels": 3}
    _, found = read_images([file], small_graph((3, 12, 10), image=rule))
    transform = evaluation_transform((12, 10), 14, crop, interpolation)
    wanted = transform(Image.open(file).convert("RGB")).numpy()
    assert found.shape == (1, 3, 12, 10)
    assert np.abs(found[0].astype(int) - wanted.astype(int)).max() <= 1


def test_stretching_without_a_crop(tmp_path):
    file = save_image(tmp_path / "image.png", np.full((1, 30, 20), 77, np.uint8))
    rule = {"resize": [12, 10], "crop": None, "interpolation": "bilinear", "channels": 1}
    _, found = read_images([file], small_graph(image=rule))
    np.testing.assert_array_equal(found, np.full((1, 1, 12, 10), 77))


def test_every_fault_of_images_is_told(artifact, tmp_path):
    path, _ = artifact
    save_image(tmp_path / "large.png", np.zeros((3, 20, 30), np.uint8))
    (tmp_path / "text.png").write_text("no image")
    save_image(tmp_path / "cut.jpg", np.zeros((1, 12, 10), np.uint8))
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "cut.jpg").read_bytes()[:-40])
    (tmp_path / "text.npy").write_text("no array")
    np.save(tmp_path / "float.npy", np.zeros((1, 12, 10)))
    np.save(tmp_path / "flat.npy", np.zeros((12, 10), np.uint8))
    np.save(tmp_path / "wide.npy", np.zeros((5, 1, 12, 11), np.uint8))
    np.savez(tmp_path / "several.npz", x=np.zeros(3))
    (tmp_path / "several.npz").rename(tmp_path / "several.npy")
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    (tmp_path / "folder.png").mkdir()
    takes = "the network takes 1 x 12 x 10 (channels x height x width); resize the image"
    arrays = "allowed: uint8 [C, H, W] or [N, C, H, W]"
    wanted = {
        "missing.png": "No such file or directory",
        "large.png": f"has 1 x 20 x 30 pixels, {takes}",
        "text.png": "cannot be decoded as an image",
        "cut.jpg": "cannot be decoded as an image",
        "folder.png": "Is a directory",
        "missing.npy": "No such file or directory",
        "text.npy": "is no .npy file, or a damaged one",
        "several.npy": "is no .npy file, or a damaged one",
        "objects.npy": "is no .npy file, or a damaged one",
        "float.npy": f"found float64 [1, 12, 10], {arrays}",
        "flat.npy": f"found uint8 [12, 10], {arrays}",
        "wide.npy": f"has 1 x 12 x 11 pixels, {takes}",
    }
    lines = refuse(qcli.DataError, path, *(tmp_path / name for name in wanted))
    for line, (name, fault) in zip(lines, wanted.items(), strict=True):
        assert line.startswith(f"{tmp_path / name}: {fault}")


def test_a_small_image_is_not_cropped(tmp_path):
    rule = {"resize": None, "crop": [12, 10], "channels": 1}
    write_graph(small_graph(image=rule), tmp_path / "network.qcli")
    file = save_image(tmp_path / "image.png", np.zeros((1, 11, 20), np.uint8))
    (line,) = refuse(qcli.DataError, tmp_path / "network.qcli", file)
    assert line == (
        f"{file}: is 11 x 20 after resizing, smaller than the 12 x 10 that are cut out of it; "
        "give it a larger image"
    )


def test_networks_that_take_no_image_file(tmp_path):
    graph = small_graph((2, 12, 10))
    write_graph(graph, tmp_path / "network.qcli")
    file = save_image(tmp_path / "image.png", np.zeros((1, 12, 10), np.uint8))
    (line,) = refuse(qcli.DataError, tmp_path / "network.qcli", file)
    assert line == f"{file}: the network takes 2 channels; give it a .npy file"
    np.save(tmp_path / "image.npy", draw_images(graph, 1))
    assert "class" in invoke(tmp_path / "network.qcli", tmp_path / "image.npy")


def test_what_is_no_artifact(artifact, tmp_path):
    path, _ = artifact
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert "checksum" in refuse(qcli.ArtifactError, path, "image.png")[0]
    assert "is no packed file" in refuse(qcli.ArtifactError, __file__, "image.png")[0]
    assert "No such file" in refuse(FileNotFoundError, tmp_path / "none.qcli", "image.png")[0]
