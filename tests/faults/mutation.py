"""Random damage to JSON: of the tree that it spells, and of the bytes that spell it."""

import copy
import json
import math

NUMBERS = (
    *(0, -1, 1, 2, 3, 0.5, -0.5, 1e-9, 255, 256, 257, 1e6, 2**31, 2**53 + 1, -(2**63), 2**64),
    *(1e30, 1e300, -1e300, 5e-324, 10**200, -(10**200), 10**400, 4.0, True, False),
)
STRINGS = (
    *("", "x", "a" * 300, "b" * 20_000, "../../../etc/passwd", "a/b", "/dev/null", ".", "..", "\0"),
    *("\x1b[31mred\x1b[0m\x1b]0;title\x07", "line\nbreak\r\nmore", "[bold]markup[/bold]", "[/x]"),
    *("--debug", "-p", "\u202eevil", "\u0130", "\ud800", "\U0001f600" * 40, "e\u0301", "\ufeff"),
    *("%s", "{}", "{0}", "__class__", "__proto__", "4", "null", "NaN", "[1, 2]", '{"a": 1}'),
    *("1e999", "os.system", "torchvision:resnet18", "onnx:", "onnx:/dev/zero", ":", "a:b:c"),
)
SPACES = (
    *([], [0], [0, 0], [1, -1], [*range(257)], [1e-50, 0], [1e39, 0], [[1], [2]], ["a", "b"]),
    *({"integers": [-3, 3]}, {"integers": [3, -3]}, {"integers": [-(10**18), 10**18]}),
    *({"powers_of_two": [-3, 0]}, {"powers_of_two": [-2000, 2000]}),
    *({"powers_of_two": [1023, 1024]}, {"powers_of_two": [-1075, -1074]}),
    *({"linspace": [-1, 1, 5]}, {"linspace": [-1e308, 1e308, 3]}, {"linspace": [0, 0, 4]}),
    *({"linspace": [-1, 1, 10**9]}, {"linspace": [-1, 1, 1]}, {"linspace": [-1, 1]}),
    *({"integers": [0, 1], "linspace": [0, 1, 2]}, {"integers": [True, 2]}),
)
SCHEDULES = ("constant", "linear", "slope", "cosine", "exponential", "step", "milestones", "never")
FIELDS = ("start", "end", "slope", "factor", "every", "power", "period_epochs", "milestones_epochs")
ENCODINGS = ("utf-8-sig", "utf-16", "utf-16-le", "utf-32")
JUNK = (b"\0", b"\xff", b"{", b"}", b"[" * 2000, b'"', b",", b"\xed\xa0\x80", b"NaN", b"-Infinity")


def draw_value(rng):
    """Return a value that hardly anyone expects."""
    kinds = (
        lambda: rng.choice(NUMBERS),
        lambda: rng.choice(STRINGS),
        lambda: copy.deepcopy(rng.choice(SPACES)),
        lambda: _draw_schedule(rng),
        lambda: _draw_nest(rng),
        lambda: rng.choice([math.nan, math.inf, -math.inf]),
        lambda: rng.choice([None, [], {}, [None], [{}], {"": None}, [[]], {"a": {"b": {}}}]),
        lambda: {rng.choice(STRINGS): rng.choice(NUMBERS) for _ in range(3)},
        lambda: [rng.choice(NUMBERS)] * rng.choice([1, 3, 1000]),
    )
    return rng.choice(kinds)()


def _draw_schedule(rng):
    value = {"kind": rng.choice([*SCHEDULES, "polynomial"]), "start": rng.choice([0.1, *NUMBERS])}
    for field in rng.sample(FIELDS, rng.randint(0, 3)):
        value[field] = rng.choice([0.1, 1, 2, "epoch", "step", [1], [1, 2, 2], *NUMBERS])
    if rng.random() < 0.3:
        warm_up = {"epochs": rng.choice(NUMBERS), "factor": 0.1}
        value["warm_up"] = rng.choice([None, warm_up, {"epochs": 1}])
    return value


def _draw_nest(rng):
    value = rng.choice(NUMBERS)
    for _ in range(rng.choice([10, 49, 50, 51, 200])):
        value = [value] if rng.random() < 0.5 else {rng.choice(["a", "default", "layers"]): value}
    return value


def places(tree, place=()):
    """Yield the path of every part of a tree but the whole."""
    is_object = isinstance(tree, dict)
    parts = tree.items() if is_object else enumerate(tree) if isinstance(tree, list) else ()
    for key, part in parts:
        yield (*place, key)
        yield from places(part, (*place, key))


def part_at(tree, place):
    """Return the part of a tree at a path."""
    for key in place:
        tree = tree[key]
    return tree


def mutate_tree(tree, rng, donors):
    """Return a copy of a tree with one change.

    Args:
        tree: A JSON value.
        rng: Draws the change.
        donors: Trees of which parts may be taken.
    """
    tree = copy.deepcopy(tree)
    every = list(places(tree))
    if not every or rng.random() < 0.01:
        return draw_value(rng)
    *above, key = rng.choice(every)
    parent = part_at(tree, above)
    change = rng.randrange(7)
    if change == 0:
        parent[key] = draw_value(rng)
    elif change in (1, 2):
        parent[key] = _draw_near(parent[key], rng)
    elif change == 3:
        del parent[key]
    elif change == 4 and isinstance(parent, dict):
        value = parent.pop(key)
        parent[rng.choice([*STRINGS, f"{key}s", str(key).upper()])] = value
    else:
        _graft(tree, rng, donors)
    return tree


def _draw_near(value, rng):
    """Return a value that resembles one: often valid."""
    match value:
        case bool():
            return not value
        case int() | float():
            near = (value + 1, value - 1, value * 2, value // 2, -value, repr(value), 0, 1)
            return rng.choice([*near, value * 1.5 if abs(value) < 1e300 else 0.5])
        case str():
            near = (value[:-1], value + "x", value.upper(), value.replace("_", "-"), [value])
            return rng.choice(near)
        case list():
            return rng.choice([value[:-1], value * 2, value[::-1], {"0": value}, [*value, None]])
    return rng.choice([None, [value], {**(value or {}), "extra": 1}])


def _graft(tree, rng, donors):
    """Put a part of another tree, or something at its key, into one of the objects of a tree."""
    donor = rng.choice(donors)
    place = rng.choice(list(places(donor)))
    part = copy.deepcopy(part_at(donor, place)) if rng.random() < 0.7 else draw_value(rng)
    parts = [tree, *(part_at(tree, each) for each in places(tree))]
    objects = [each for each in parts if isinstance(each, dict)]
    if objects:
        rng.choice(objects)[str(place[-1])] = part


def spell(tree, rng):
    """Return a tree as bytes: mostly JSON in UTF-8, sometimes in another encoding."""
    text = json.dumps(tree, indent=rng.choice([None, 2]), ensure_ascii=rng.random() < 0.9)
    encoding = "utf-8" if rng.random() < 0.95 else rng.choice(ENCODINGS)
    return text.encode(encoding, "surrogatepass")


def mutate_bytes(raw, rng):
    """Return bytes with one change: cut, flipped, put in, left out, doubled."""
    at = rng.randrange(max(1, len(raw)))
    match rng.randrange(6):
        case 0:
            return raw[:at]
        case 1:
            flipped = bytes(each ^ 1 << rng.randrange(8) for each in raw[at : at + 1])
            return raw[:at] + flipped + raw[at + 1 :]
        case 2:
            return raw[:at] + rng.choice(JUNK) + raw[at:]
        case 3:
            return raw[:at] + raw[at + rng.choice([1, 5, 50]) :]
        case 4:
            start = max(0, raw.find(b'"', at))
            stop = raw.find(b",", start) + 1
            return raw[:stop] + raw[start:stop] + raw[stop:]
    return raw + rng.choice([raw, b"\n\n", b"x", b"\0" * 100, b" " * (1 << 20)])
