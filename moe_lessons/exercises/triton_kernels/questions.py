"""Predictions before the experiments, and questions after them."""

from moe_lessons.exercises.spec import Choice, Prediction, Quiz

PREDICTIONS = (
    Prediction(
        id="09.order",
        question=(
            "A kernel copies the rows of a matrix and forgets the mask of its store: each program writes a "
            "few elements too many, over the beginning of the next row. We run it in the interpreter. What "
            "will the copy look like?"
        ),
        options=(
            "Every row but the first begins with wrong elements",
            "The copy is right, element for element",
            "Random: it differs from run to run",
        ),
        truth=1,
        because=(
            "The interpreter runs one program after another, in order. Each row is damaged by its neighbour "
            "and then repaired by its own program. On a GPU nobody promises that order."
        ),
    ),
    Prediction(
        id="09.fused",
        question=(
            "The up projection needs its rows sorted by expert. Way one: a kernel that gathers all S = T * K "
            "rows of D numbers into a new tensor, then the product. Way two: the product gathers by itself. "
            "How many fewer numbers does way two move?"
        ),
        options=(
            "None: every row must be read either way",
            "S * D: the copy is not written",
            "2 * S * D: what the gather reads and what it writes",
        ),
        truth=2,
        because=(
            "The product reads its rows in both ways. What falls away is the whole gather kernel: S * D "
            "numbers read, and S * D written."
        ),
    ),
    Prediction(
        id="09.backward",
        question="Forward, the experts cost 6 * S * D * F FLOPs (three matrices). What does backward cost?",
        options=(
            "As much again: each product has one gradient",
            "Twice as much: each product has two gradients",
            "Three times as much: one for each matrix",
        ),
        truth=1,
        because=(
            "A product of rows and a matrix has two gradients, one for the rows and one for the matrix, and "
            "each is a product of the same size."
        ),
    ),
)

QUIZZES = (
    Quiz(
        id="09.programs",
        question=(
            "A tensor has 1000 elements. A kernel takes blocks of 256, one program each. In how many "
            "programs does the mask leave something out?"
        ),
        answer=1,
        feedback=(
            "cdiv(1000, 256) = 4 programs, 1024 places. Three are full; the last has 24 places too many."
        ),
    ),
    Quiz(
        id="09.other",
        question="Where does a masked load without `other` do harm?",
        choices=(
            Choice(
                "Everywhere: it reads memory that is not ours",
                "No: the mask prevents the read. What is undefined is the value that stands in its place.",
            ),
            Choice(
                "Where the masked elements go into a sum or a product over that axis",
                "Yes. What is only stored again under the same mask is never seen. What is summed is.",
                right=True,
            ),
            Choice(
                "Nowhere: Triton fills in zero",
                "The interpreter does, and that hides the mistake. On a GPU the value is undefined.",
            ),
        ),
    ),
    Quiz(
        id="09.blocks",
        question=(
            "Four experts have 130, 1, 0 and 128 rows; a block has 128 rows. How many blocks does the block "
            "map list, spare ones left out?"
        ),
        answer=4,
        feedback="2 + 1 + 0 + 1. The second expert's single row costs a block of its own.",
    ),
    Quiz(
        id="09.overflow",
        question=(
            "Rows of 4096 numbers. From which row on does `row * 4096` no longer fit a signed 32-bit "
            "integer (largest value 2147483647)?"
        ),
        answer=524288,
        rtol=0.0,
        feedback=(
            "2**31 / 4096 = 524288. With K = 8 that is 65536 tokens, and nothing says so: the product "
            "becomes negative. Convert the row to int64 before you multiply."
        ),
    ),
    Quiz(
        id="09.combine",
        question="Why does the combine kernel gather rows rather than add each row where its token sits?",
        choices=(
            Choice(
                "Adding is slower arithmetic than copying",
                "The arithmetic is the same: K rows are added for each token either way.",
            ),
            Choice(
                "Atomics cannot add fp32 numbers",
                "They can. The result is a correct sum, in an order that nobody chose.",
            ),
            Choice(
                "One program per output: no race, no atomics, and the same order of the sum in every run",
                "Yes. A floating-point sum depends on its order; fixing it makes runs repeat bit for bit.",
                right=True,
            ),
        ),
    ),
)
