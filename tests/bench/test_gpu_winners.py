"""The GPU day's stage `tiles`: who wins."""

from gpu_stages.candidates import SHAPES
from gpu_stages.winners import choose, code, table, times_of

from moe_lessons.kernels.limits import roofline
from moe_lessons.kernels.tiles import HOPPER, Tile, Tiles

H100 = (9, 0)

A, B, SMALL, GROUPED = (
    Tile(128, 128, 64, 8, 3),
    Tile(128, 256, 64, 8, 3),
    Tile(64, 64, 64, 4, 3),
    Tile(128, 128, 64, 8, 3, 8),
)
TODAY = Tiles(A, B, A, B, B)


def timed(shape, step, tile, ms, **more):
    return {"what": "timed", "shape": shape, "kernel": step, "tile": list(tile), "ms": ms, "ok": True, **more}


def test_wrong_or_half_timed_tiles_do_not_win():
    rows = [
        timed("reference", "up", A, 2.0),
        timed("reference", "up", SMALL, 0.1, ok=False),
        {
            "what": "timed",
            "shape": "reference",
            "kernel": "up",
            "tile": list(GROUPED),
            "ok": False,
            "error": "x",
        },
        timed("other", "up", B, 0.1),
        timed("reference", "gate_up_gradient", A, 1.0),
        timed("reference", "gate_up_gradient", B, 3.0),
        timed("reference", "down_gradient", B, 0.5),
    ]
    assert times_of(rows, "reference") == {"up": {A: 2.0}, "weight_gradient": {B: 3.5}}


def test_kernels_that_share_blocks_get_one_number_of_rows():
    times = {"up": {A: 2.0, SMALL: 1.0}, "down": {B: 1.0, SMALL: 1.5}, "pre_gradient": {A: 1.0, SMALL: 1.2}}
    small_wins = choose({"one": times}, TODAY)
    assert small_wins[:3] == (SMALL, SMALL, SMALL)
    assert small_wins.hidden_gradient == B._replace(m=64)  # not timed: today's, with the others' rows
    assert small_wins.weight_gradient == B
    times["down"][SMALL] = 4.0
    assert choose({"one": times}, TODAY) == TODAY
    times["weight_gradient"] = {B: 2.0, SMALL: 1.0}  # has blocks of its own
    assert choose({"one": times}, TODAY) == TODAY._replace(weight_gradient=SMALL)


def test_shapes_count_alike_however_long_they_take():
    short, long = {"up": {A: 1.0, GROUPED: 1.5}}, {"up": {A: 100.0, GROUPED: 90.0}}
    assert choose({"short": short, "long": long}, TODAY).up == A
    assert choose({"long": long}, TODAY).up == GROUPED
    long["up"][B] = 1.0  # not timed for the other shape
    assert choose({"short": short, "long": long}, TODAY).up == A


def test_the_table_can_be_pasted_and_says_gain_and_limit():
    rows = [timed("reference", "up", A, 1.2), timed("reference", "up", GROUPED, 1.0)]
    text = table(rows, SHAPES, H100, "H100")
    limit = roofline(*SHAPES["reference"]).kernels_ms["up"]
    (line,) = (line for line in text.splitlines() if line.startswith("  up  "))
    assert line.split()[-4:] == ["1.000", "1.200", "1.20", f"{1 / limit:.2f}"]
    names = {}
    exec(text[text.index("HOPPER =") :], {"Tiles": Tiles, "Tile": Tile}, names)
    assert names["HOPPER"] == HOPPER._replace(up=GROUPED)
    unknown = table(rows, SHAPES, H100, "some GPU")
    assert next(line for line in unknown.splitlines() if line.startswith("  up  ")).split()[-1] == "-"
    assert "HOPPER" not in table(rows, SHAPES, None, "no GPU")
    assert table([], SHAPES, H100, "H100") == ""
    assert eval(code(GROUPED)) == GROUPED
