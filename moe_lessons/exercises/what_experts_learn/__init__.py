"""Lesson 12: what experts learn."""

from moe_lessons.exercises.spec import Lesson
from moe_lessons.exercises.what_experts_learn.beyond_the_token import BEYOND_THE_TOKEN
from moe_lessons.exercises.what_experts_learn.claims import CLAIMS
from moe_lessons.exercises.what_experts_learn.coactivation import COACTIVATION
from moe_lessons.exercises.what_experts_learn.locality import LOCALITY
from moe_lessons.exercises.what_experts_learn.puzzles import PUZZLES
from moe_lessons.exercises.what_experts_learn.questions import PREDICTIONS, QUIZZES
from moe_lessons.exercises.what_experts_learn.saturation import SATURATION
from moe_lessons.exercises.what_experts_learn.what_is_it import WHAT_IS_IT

LESSON = Lesson(
    id="12_what_experts_learn",
    title="What experts learn",
    question="My experts specialise. What would I have to show before I may say so?",
    goals=(
        "measure locality, saturation, co-activation and specialisation, each beside the chance that belongs "
        "to it;",
        "take out what the untrained router and the token alone give away;",
        "test by intervention whether the routing matters, and for what;",
        "notice where a selection makes the pattern that a report then finds;",
        "read a figure of specialised experts critically, your own included.",
    ),
    minutes=145,
    prerequisites=(
        "[lesson 10](10_mini_transformer.ipynb): mutual information, three kinds of text",
        "[lesson 04](04_collapse.ipynb): load",
    ),
    exercises=(LOCALITY, SATURATION, COACTIVATION, BEYOND_THE_TOKEN, WHAT_IS_IT),
    quizzes=QUIZZES,
    predictions=PREDICTIONS,
    puzzles=PUZZLES,
    claims=CLAIMS,
    sources=(
        "Jiang et al., *Mixtral of Experts*, [arXiv 2401.04088](https://arxiv.org/abs/2401.04088): no "
        "experts of topics, but neighbours that share one (section 5, table 5).",
        "Muennighoff et al., *OLMoE*, [arXiv 2409.02060](https://arxiv.org/abs/2409.02060): router "
        "saturation (5.1), co-activation (5.2), domains and vocabulary (5.3, 5.4).",
        "Zoph et al., *ST-MoE*, [arXiv 2202.08906](https://arxiv.org/abs/2202.08906): what experts of an "
        "encoder take up, and those of a decoder do not (section 7).",
        "Xue et al., *OpenMoE*, [arXiv 2402.01739](https://arxiv.org/abs/2402.01739): experts that follow "
        "the token id.",
        "DeepSeek-AI, *DeepSeek-V3 Technical Report*, [arXiv 2412.19437](https://arxiv.org/abs/2412.19437): "
        "the scope of balance and what experts become (section 4.5.3).",
        "*When are experts misrouted?*, [arXiv 2605.07260](https://arxiv.org/abs/2605.07260): routes of hard "
        "tokens (read as an abstract).",
    ),
)
