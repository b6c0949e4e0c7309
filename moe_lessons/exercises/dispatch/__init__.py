"""Lesson 08: dispatch."""

from moe_lessons.exercises.dispatch.bytes_moved import BYTES_MOVED
from moe_lessons.exercises.dispatch.claims import CLAIMS
from moe_lessons.exercises.dispatch.combine import COMBINE
from moe_lessons.exercises.dispatch.grouped_product import GROUPED_PRODUCT
from moe_lessons.exercises.dispatch.permutation_plan import PERMUTATION_PLAN
from moe_lessons.exercises.dispatch.puzzles import PUZZLES
from moe_lessons.exercises.dispatch.questions import PREDICTIONS, QUIZZES
from moe_lessons.exercises.dispatch.undo_sort import UNDO_SORT
from moe_lessons.exercises.spec import Lesson

LESSON = Lesson(
    id="08_dispatch",
    title="Dispatch",
    question="Why is a loop over experts slow, and what does one do instead?",
    goals=(
        "Sort rows by expert with one plan, and undo it.",
        "Compute all experts from sorted rows and their ends, without padding.",
        "Write a combine whose bits do not depend on the numbers of the experts.",
        "Predict the bytes that each stage moves, and say when bytes rather than FLOPs set the time.",
        "Draw the byte matrix of eight ranks, and say who everybody waits for.",
    ),
    minutes=150,
    prerequisites=("lesson 02", "lesson 07 for what padding costs"),
    exercises=(PERMUTATION_PLAN, UNDO_SORT, GROUPED_PRODUCT, COMBINE, BYTES_MOVED),
    quizzes=QUIZZES,
    predictions=PREDICTIONS,
    puzzles=PUZZLES,
    claims=CLAIMS,
    sources=(
        "Shazeer et al., [Outrageously Large Neural Networks](https://arxiv.org/abs/1701.06538): section "
        "3.1, the shrinking batch.",
        "Gale et al., [MegaBlocks](https://arxiv.org/abs/2211.15841): groups of any size, without padding.",
        "Tan et al., [ScatterMoE](https://arxiv.org/abs/2403.08245): sorted indices instead of sorted rows.",
        "Guo et al., [SonicMoE](https://arxiv.org/abs/2512.14080): gathers fused into the products, and a "
        "combine that gathers.",
        "DeepSeek-AI, [DeepSeek-V3](https://arxiv.org/abs/2412.19437): sections 3.2 and 3.4, placement and "
        "exchanges in production.",
        "PyTorch, [`grouped_mm`](https://docs.pytorch.org/docs/stable/generated/"
        "torch.nn.functional.grouped_mm.html).",
    ),
)
