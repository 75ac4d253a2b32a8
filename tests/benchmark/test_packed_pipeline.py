"""The photographs that packs are compared on."""

from PIL import Image

from qcli.benchmark import packed_pipeline
from qcli.benchmark.case import Scope


def test_files_and_packs_take_turns(tmp_path, monkeypatch):
    for name, value in {"IMAGES": 8, "BATCH": 4, "BATCHES": 1, "HEIGHT": 300}.items():
        monkeypatch.setattr(packed_pipeline, name, value)
    arms = packed_pipeline.measure_packed_pipeline(Scope(tmp_path), size=64)
    assert list(arms) == ["torchvision", "packed JPEG", "packed pixels"]
    for arm in arms.values():
        assert arm.images == 4
        arm.unit()
    paths = sorted((tmp_path / "photographs" / "train").rglob("*.jpg"))
    assert len(paths) == 8
    with Image.open(paths[0]) as image:
        assert image.size == (500, 300)
    assert (tmp_path / "packed pixels" / "pack.json").exists()
