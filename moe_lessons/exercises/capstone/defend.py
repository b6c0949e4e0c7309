"""Exercise 17.defend: which resource binds, told by what twice as much of it would buy."""

from moe_lessons.exercises.capstone.buying import RESOURCES, draw
from moe_lessons.exercises.capstone.defend_mistakes import MISTAKES
from moe_lessons.exercises.capstone.defend_wrong import reference
from moe_lessons.exercises.spec import Case, Exercise, Output, Outputs, Property


def _known(case: Case, got: Outputs, want: Outputs) -> str | None:
    if got["resource"] not in RESOURCES:
        return f"resource is {got['resource']!r}; choose one of {', '.join(RESOURCES)}"
    return None


DEFEND = Exercise(
    id="17.defend",
    title="What would you buy?",
    task=(
        "N designs, and what the simulator says of each: `loss_N` as things are, `loss_compute_N` and "
        "`loss_text_N` with twice the compute or twice the text for training; `memory_N` bytes and "
        "`seconds_N` a step, of which `memory` and `seconds` are allowed. Somebody would pay for **twice as "
        'much of one resource**, and each time the design is chosen anew. With which of them, `"compute"`, '
        '`"text"`, `"memory"` or `"time"`, does the loss of the best design that fits fall most, and by how '
        "many nats? Return both."
    ),
    entry="defend",
    points=4,
    minutes=15,
    difficulty=3,
    outputs=(Output("resource", kind="text"), Output("gain", atol=1e-6, rtol=1e-3)),
    draw=draw,
    reference=reference,
    properties=(Property("one of the four resources", _known),),
    misconceptions=MISTAKES,
    hints=(
        "There are five situations: today, and twice as much of each of four. In each, which designs fit, "
        "and which of those is best?",
        "Compute and text change the losses and not what fits. Memory and time change what fits and not the "
        "losses; the other limit stays.",
        "`fits = (memory_N <= 2 * memory) & (seconds_N <= seconds)`, then `loss_N[fits].min()`.",
    ),
    notice=(
        "This is a shadow price: what a limit costs is seen when it moves and one chooses anew, never in a "
        "picture of how full the bars are."
    ),
)
