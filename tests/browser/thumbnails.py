"""Which part of which drawing stands for each lesson in the README's map."""

import ast
from dataclasses import dataclass

from moe_lessons import explore, svg
from moe_lessons.build import paths
from moe_lessons.build.source import read_cells


@dataclass(frozen=True)
class Thumbnail:
    """A part of a drawing: `width` pixels of it from `left` and `top` on.

    The drawing is an explorable's frame at one of its landmarks, or what the last of some cells of the lesson
    draws; each cell is named by a text that only it has.
    """

    explorable: str = ""
    landmark: str = ""
    cells: tuple[str, ...] = ()
    left: float = 0
    top: float = 0
    width: float = 480


THUMBNAILS = {
    "00_start_here": Thumbnail("Sentence", "Start", left=8, top=16, width=430),
    "01_router": Thumbnail("Router", "Start", top=18, width=406),
    "02_moe_layer": Thumbnail("SortedLayer", "No bug", width=468),
    "03_counting": Thumbnail("Calculator", "Mixtral", width=520),
    "04_collapse": Thumbnail("Collapse", "Step 200", left=412, top=14, width=308),
    "05_load_loss": Thumbnail("Surface", "Lowest", top=12, width=402),
    "06_routing_zoo": Thumbnail("BalancingRace", "Both good", top=18, width=395),
    "07_capacity": Thumbnail("Capacity", "Start", top=20, width=380),
    "08_dispatch": Thumbnail("Permutation", "There and back", width=585),
    "09_triton": Thumbnail(cells=("Three programs, twelve places",), top=-100, width=640),
    "10_mini_transformer": Thumbnail(
        cells=(
            "load_corpus(",
            "from moe_lessons.training.report import load_report",
            "extra_bits / len",
            'load_report("cpu_tiny")',
            "The long run reaches",
        ),
        width=470,
    ),
    "11_fine_grained": Thumbnail("Granularity", "“Fine wins”", left=8, top=54, width=412),
    "12_what_experts_learn": Thumbnail("BlindTest", "End of training", top=2, width=370),
    "13_adaptation": Thumbnail(
        cells=(
            "from moe_lessons import adaptation\n",
            "runs = result(",
            "PLANS = {",
            "Little text: freeze the experts",
        ),
        top=-70,
        width=640,
    ),
    "14_expert_parallel": Thumbnail("AllToAll", "No plan", width=440),
    "15_serving": Thumbnail("Roofline", "90 % of experts", top=22, width=388),
    "16_frontier": Thumbnail("TwoNumbers", "GPT-4, 8 experts", left=-85, width=480),
    "17_capstone": Thumbnail("BudgetBench", "Little text", left=-2, top=2, width=400),
}


def drawing(lesson):
    """The whole drawing of which a lesson's thumbnail is a part."""
    about = THUMBNAILS[lesson]
    if about.cells:
        return drawn_by(lesson, about.cells).svg
    explorable = getattr(explore, about.explorable)(locked=False)
    (landmark,) = (found for found in explorable.landmarks() if found.label == about.landmark)
    return explorable.draw(explorable.simulate(landmark.go(explorable.params)))


def drawn_by(lesson, wanted):
    """Run some cells of a lesson, without what they print, and return what the last one ends with."""
    cells = [cell.source for cell in read_cells(paths.LESSONS / f"{lesson}.py") if cell.cell_type == "code"]
    names = {name: getattr(svg, name) for name in svg.__all__}
    names |= {"measured": lambda *args, **kwargs: None, "print": lambda *args: None}
    for text in wanted:
        (source,) = (cell for cell in cells if text in cell)
        *before, last = ast.parse(source).body
        exec(compile(ast.Module(before, []), lesson, "exec"), names)
        if not isinstance(last, ast.Expr):
            exec(compile(ast.Module([last], []), lesson, "exec"), names)
    return eval(compile(ast.Expression(last.value), lesson, "eval"), names)
