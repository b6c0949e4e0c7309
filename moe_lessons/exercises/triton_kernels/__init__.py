"""Lesson 09: Triton kernels, forward and backward."""

from moe_lessons.exercises.spec import Lesson
from moe_lessons.exercises.triton_kernels.block_map import BLOCK_MAP
from moe_lessons.exercises.triton_kernels.combine_rows import COMBINE_ROWS
from moe_lessons.exercises.triton_kernels.down_gradient import DOWN_GRADIENT
from moe_lessons.exercises.triton_kernels.gather_rows import GATHER_ROWS
from moe_lessons.exercises.triton_kernels.grouped_product import GROUPED_PRODUCT
from moe_lessons.exercises.triton_kernels.puzzles import PUZZLES
from moe_lessons.exercises.triton_kernels.questions import PREDICTIONS, QUIZZES

LESSON = Lesson(
    id="09_triton",
    title="Writing the kernels",
    question="How does a MoE layer run on a GPU, and how do you write that yourself?",
    goals=(
        "write a Triton kernel from nothing: programs, blocks, pointers, masks",
        "write the kernels of a MoE layer: gather, grouped product, combine, and a gradient",
        "predict how many bytes a kernel moves, and count them",
        "tell a kernel that is right from one that only looks right in the interpreter",
    ),
    minutes=160,
    prerequisites=(
        "[lesson 02](02_moe_layer.ipynb): the layer as sorted rows",
        "matrix products by tiles help",
    ),
    exercises=(GATHER_ROWS, BLOCK_MAP, GROUPED_PRODUCT, COMBINE_ROWS, DOWN_GRADIENT),
    quizzes=QUIZZES,
    predictions=PREDICTIONS,
    puzzles=PUZZLES,
    sources=(
        "Tillet, Kung, Cox 2019, *Triton: An Intermediate Language and Compiler for Tiled Neural Network "
        "Computations*, [MAPL 2019](https://doi.org/10.1145/3315508.3329973)",
        "The [Triton documentation](https://triton-lang.org/main/index.html), with tutorials",
        "Gale et al. 2022, *MegaBlocks*, [arXiv 2211.15841](https://arxiv.org/abs/2211.15841): MoE without "
        "dropped tokens, as block-sparse products",
        "Tan et al. 2024, *Scattered Mixture-of-Experts Implementation*, [arXiv "
        "2403.08245](https://arxiv.org/abs/2403.08245): gather fused into the product",
        "Guo et al. 2025, *SonicMoE*, [arXiv 2512.14080](https://arxiv.org/abs/2512.14080): what need not be "
        "stored for the backward pass",
        "Williams, Waterman, Patterson 2009, *Roofline*, "
        "[Communications of the ACM 52(4)](https://doi.org/10.1145/1498765.1498785)",
    ),
)
