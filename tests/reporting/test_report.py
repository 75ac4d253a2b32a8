"""`qcli report`: the page of a trained run, and of runs in every state that a run can be in."""

import html
import json
import re
from html.parser import HTMLParser

import pytest
from click.testing import CliRunner

from qcli.cli import cli
from qcli.errors import RunError, UsageError
from qcli.training.run_directory import RunDirectory

HOSTILE = '</title><script>alert(1)</script><img src=x onerror="alert(1)">&amp;\u202e$x$'
QUICK = ("--cpu", "--threads", 1)


class Page(HTMLParser):
    """What a browser would find in a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self.attributes = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text.append(data)

    def says(self, text):
        return text in " ".join(" ".join(self.text).split())


def read(path):
    return Page((path / "report.html").read_text("utf-8"))


@pytest.fixture(scope="module")
def reported(trained, run_qcli):
    """The report of the trained run, and what was printed."""
    done = run_qcli("report", trained, *QUICK)
    return trained / "report", done


def test_the_page_has_every_part(reported, trained):
    folder, done = reported
    assert done.stdout.strip() == str(folder / "report.html")
    page = read(folder)
    for heading in (
        *("Training", "Layers", "Network", "Before and after quantization"),
        *("The quantizers while training", "Classes", "Proof of the integers"),
        "To run it again",
    ):
        assert heading in page.text, heading
    plan = json.loads((trained / "plan.json").read_text())
    for row in plan["layers"]:
        assert row["layer"] in page.text
        if row["macs"]:
            assert f"{row['macs'] * row['weight_bits'] * row['input_bits']:,}" in page.text
    for file in ("training.json", "quantization.json"):
        recipe = json.loads((trained / file).read_text())
        assert page.says(" ".join(json.dumps(recipe, indent=2).split()))
    record = json.loads((trained / "run.json").read_text())
    assert record["recipes_sha256"] in page.text
    assert record["versions"]["torch"] in page.text
    assert page.says("Nothing was proved yet: qcli verify")
    assert "Left out" not in page.text
    best = json.loads((trained / "result.json").read_text())["best"]
    assert page.says(f"{100 * best['top1']:.2f} % (epoch {best['epoch']})")
    assert page.says("on 360 of 360 test images")


def test_nothing_is_loaded_from_outside(reported):
    folder, _ = reported
    page = read(folder)
    assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & set(page.tags)
    sources = [text for name, text in page.attributes if name in ("src", "href", "xlink:href")]
    assert all(text.startswith(("#", "data:image/png;base64,")) for text in sources)
    assert not any(name.startswith("on") for name, _ in page.attributes)
    text = (folder / "report.html").read_text()
    assert "default-src 'none'" in text
    assert not re.search(r"url\((?!#)|@import", text)
    ids = [text for name, text in page.attributes if name == "id"]
    defined = [each for each in ids if not each.startswith(("p", "m", "image"))]
    assert len(set(defined)) == len(defined)


def test_figures_lie_beside_the_page(reported):
    folder, _ = reported
    names = {file.name for file in (folder / "figures").iterdir()}
    assert {"top1.svg", "top1.png", "loss.svg", "lr.png", "confusion.svg"} <= names
    assert {"001-conv1-weight.svg", "001-conv1-weight-levels.png"} <= names
    drawn = {name[:-4] for name in names if name.endswith(".svg")}
    assert drawn == {name[:-4] for name in names if name.endswith(".png")} | {"graph"}
    assert (folder / "report.html").stat().st_size < 2_000_000
    for file in (folder / "figures").iterdir():
        starts = (b"\x89PNG",) if file.suffix == ".png" else (b"<?xml", b"<svg")
        assert file.read_bytes().startswith(starts)


@pytest.mark.slow
def test_the_same_run_gives_the_same_figures(reported, trained, run_qcli, tmp_path):
    folder, _ = reported
    run_qcli("report", trained, *QUICK, "-o", tmp_path / "again")
    for file in (tmp_path / "again" / "figures").glob("*.svg"):
        assert file.read_text() == (folder / "figures" / file.name).read_text(), file.name


def test_what_files_and_names_say_is_shown_and_never_obeyed(copy, change, run_qcli, tmp_path):
    def spoil_plan(plan):
        plan["layers"][0]["layer"] = HOSTILE
        plan["layers"][1]["because"] = HOSTILE

    def spoil_record(record):
        record["architecture"] = record["dataset"] = record["device"] = HOSTILE
        record["argv"] = [HOSTILE, HOSTILE]
        record["versions"] = {HOSTILE: HOSTILE}
        record["error"] = HOSTILE

    change(copy / "plan.json", spoil_plan)
    change(copy / "run.json", spoil_record)
    change(copy / "quantization.json", lambda recipe: recipe.update(name=HOSTILE))
    change(
        copy / "result.json",
        lambda result: result.update(health=[{"text": HOSTILE}, {"text": 3}, "sick"]),
    )
    rows = [json.loads(line) for line in (copy / "metrics.jsonl").read_text().splitlines()]
    for row in rows:
        row["health"][f"{HOSTILE}.weight"] = row["health"]["conv1.weight"]
        row["levels"][f"{HOSTILE}.weight"] = row["levels"]["conv1.weight"]
    (copy / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (copy / "verify.json").write_text(
        json.dumps({"holds": True, "faults": [HOSTILE], "forms": [{"form": HOSTILE}]})
    )
    run_qcli("report", copy, "--label", HOSTILE, *QUICK, "-o", tmp_path / "out")
    text = (tmp_path / "out" / "report.html").read_text()
    page = Page(text)
    assert "script" not in page.tags
    assert "img" not in page.tags
    assert not any(name.startswith("on") for name, _ in page.attributes)
    assert "\u202e" not in text
    assert text.count(html.escape(HOSTILE.partition("\u202e")[0], quote=False)[:30]) > 8
    for file in (tmp_path / "out" / "figures").glob("*.svg"):
        assert "<script" not in file.read_text()


def refuse(error, *arguments):
    with pytest.raises(error) as caught:
        CliRunner().invoke(cli, [str(each) for each in arguments], catch_exceptions=False)
    return str(caught.value)


def make_live(path, change):
    (path / "result.json").unlink()
    change(path / "run.json", lambda record: record.update(status="running", ended=None))


def make_interrupted(path, change):
    (path / "result.json").unlink()
    change(path / "run.json", lambda record: record.update(status="interrupted", error="by hand"))


def make_failed(path, change):
    (path / "result.json").unlink()
    change(path / "run.json", lambda record: record.update(status="failed", error="loss is NaN"))


def make_fresh(path, change):
    make_live(path, change)
    for name in ("metrics.jsonl", "metrics.csv", "best.safetensors", "last.safetensors"):
        (path / name).unlink()


def make_old(path, change):
    rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    for row in rows:
        del row["levels"]
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def make_unwatched(path, change):
    rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    for row in rows:
        del row["levels"], row["health"]
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    change(path / "training.json", lambda recipe: recipe.update(health="off"))


def make_damaged(path, change):
    for name in ("plan.json", "result.json", "verify.json"):
        (path / name).write_text("{")
    (path / "metrics.jsonl").write_bytes(b'[1]\n{"epoch": "x", "val_top1": 1e999}\n{"epoch": 1}\n')
    (path / "best.safetensors").write_bytes(b"nothing")


def make_odd(path, change):
    odd = {"epoch": 1, "val_top1": [], "lr": "x", "health": {"a.weight": 3, "b": {"levels": "x"}}}
    rows = [{**odd, "levels": {"a.weight": [None, "x"]}}, {**odd, "epoch": None, "health": 7}]
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (path / "plan.json").write_text('{"layers": [1, {"layer": 2, "weights": "x", "weight": []}]}')
    (path / "result.json").write_text('{"best": 3, "health": {"a": 1}, "test": []}')
    (path / "verify.json").write_text('{"forms": [1, {"form": 2}], "float": 3, "images": "x"}')


def move_data(path, change):
    """Name a data set whose files are nowhere."""

    def move(recipe):
        kept = {"image_size": 32, "channels": 1}
        recipe["dataset"] = {"name": "mnist", **kept}

    change(path / "training.json", move)
    digest = re.compile(r'"recipes_sha256": "\w+"')
    new = f'"recipes_sha256": "{RunDirectory(path).recipes_hash()}"'
    (path / "run.json").write_text(digest.sub(new, (path / "run.json").read_text()))


def check_report(path, spoil, told, change, run_qcli):
    spoil(path, change)
    done = run_qcli("report", path, *QUICK)
    page = read(path / "report")
    for text in told:
        assert page.says(text), text
    assert ("left out" in done.stderr) == ("Left out" in page.text)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (make_fresh, ["Left out", "running", "no epoch of this run has ended yet"]),
        (
            make_damaged,
            ["plan.json is damaged", "verify.json is damaged", "metrics.jsonl, line 1, is"],
        ),
        (make_odd, ["To run it again", "The proof does not hold"]),
    ],
)
def test_a_run_without_its_files_has_a_report(spoil, told, copy, change, run_qcli):
    check_report(copy, spoil, told, change, run_qcli)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (make_live, ["running", "2 of 2 epochs have ended, and the run goes on"]),
        (make_interrupted, ["interrupted", "by hand"]),
        (make_failed, ["failed", "loss is NaN"]),
        (make_old, ["the course of the levels: the run is from before epochs recorded them"]),
        (make_unwatched, ["the run was trained with health off"]),
        (move_data, ["activations and classes:", "-p names the folder of the data"]),
    ],
)
def test_a_run_in_any_state_has_a_report(spoil, told, copy, change, run_qcli):
    check_report(copy, spoil, told, change, run_qcli)


@pytest.mark.slow
def test_several_runs_lie_over_each_other(trained, copy, run_qcli, tmp_path):
    out = tmp_path / "both"
    done = run_qcli("report", trained, copy, *QUICK, "--images", 40, "-o", out, "--json")
    told = json.loads(done.stdout)
    assert told["schema_version"] == 1
    assert told["path"] == str(out / "report.html")
    assert list(told["left_out"]) == ["small", "copy"]
    assert "320 of 360 test images were not measured" in told["left_out"]["small"][0]
    page = read(out)
    assert page.text.count("Training") == 2
    assert {"best top-1", "small", "copy"} <= set(page.text)
    assert {"top1.svg", "1-small", "2-copy"} <= {each.name for each in (out / "figures").iterdir()}


def test_curves_alone_are_figures_for_papers(trained, copy, run_qcli, tmp_path):
    labels = ("--label", "4/4 <a> $x$", "--label", "second")
    out = tmp_path / "curves"
    done = run_qcli("report", trained, copy, "--curves", *labels, "-o", out)
    assert done.stdout.strip() == str(out)
    assert {each.name for each in out.iterdir()} == {
        f"{name}.{suffix}" for name in ("top1", "loss", "lr") for suffix in ("svg", "png")
    }
    text = (out / "top1.svg").read_text()
    assert ">4/4 &lt;a&gt; $x$<" in text
    assert ">second<" in text
    # Once more into the same folder, but not beside what is somebody's own.
    again = ("report", trained, "--curves", "-o", out)
    run_qcli(*again)
    (out / "top1.txt").write_text("mine")
    assert "holds other files" in refuse(UsageError, *again)


def test_what_cannot_be_reported_is_said_before_anything_is_written(trained, tmp_path):
    assert "name its folder with -o" in refuse(UsageError, "report", trained, trained)
    assert "is missing" in refuse(RunError, "report", tmp_path, "-o", tmp_path / "out")
    assert "does not exist" in refuse(RunError, "report", tmp_path / "no", "-o", tmp_path / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("years of work")
    assert "holds other files" in refuse(UsageError, "report", trained, "-o", tmp_path / "full")
    (tmp_path / "link").symlink_to(tmp_path / "full")
    assert "no folder of its own" in refuse(UsageError, "report", trained, "-o", tmp_path / "link")
    labels = ("--label", "a", "--label", "b", "-o", tmp_path / "out")
    assert "one for each of 1 runs" in refuse(UsageError, "report", trained, *labels)
    labels = ("--label", "a", "--label", "a", "-o", tmp_path / "out")
    assert "twice" in refuse(UsageError, "report", trained, trained, *labels)
    assert not (tmp_path / "out").exists()
    assert (tmp_path / "full" / "thesis.tex").read_text() == "years of work"


@pytest.mark.slow
def test_a_link_in_an_earlier_report_is_replaced_not_followed(copy, run_qcli, tmp_path):
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    figures = copy / "report" / "figures"
    figures.mkdir(parents=True)
    (copy / "report" / "report.html").symlink_to(mine)
    (figures / "top1.svg").symlink_to(mine)
    run_qcli("report", copy, *QUICK)
    assert mine.read_text() == "mine"
    assert not (figures / "top1.svg").is_symlink()
