"""Lesson 14: expert parallelism for real."""

from moe_lessons.exercises.expert_parallel.balance import BALANCE
from moe_lessons.exercises.expert_parallel.claims import CLAIMS
from moe_lessons.exercises.expert_parallel.clip import CLIP
from moe_lessons.exercises.expert_parallel.exchange import EXCHANGE
from moe_lessons.exercises.expert_parallel.expert_major import EXPERT_MAJOR
from moe_lessons.exercises.expert_parallel.puzzles import PUZZLES
from moe_lessons.exercises.expert_parallel.questions import PREDICTIONS, QUIZZES
from moe_lessons.exercises.expert_parallel.reduce_gradients import REDUCE_GRADIENTS
from moe_lessons.exercises.spec import Lesson

LESSON = Lesson(
    id="14_expert_parallel",
    title="All to all, for real",
    question="The experts live on several machines. What travels, who waits, and how do I know that it is "
    "still the same training?",
    goals=(
        "exchange rows of uneven sizes between ranks, and bring them back",
        "say who holds which gradient, whom to add up, and by what to divide",
        "recognise a mistake that trains, and that the loss curve hides",
        "read a profile in which one rank is late",
        "plan copies of hot experts, and say what a plan cannot do",
        "predict when overlapping two half batches pays",
    ),
    minutes=150,
    prerequisites=(
        "[lesson 08](08_dispatch.ipynb): the sort, bytes between ranks, latency and bandwidth",
        "[lesson 10](10_mini_transformer.ipynb): training; group-limited routing from "
        "[lesson 06](06_routing_zoo.ipynb)",
    ),
    exercises=(EXCHANGE, EXPERT_MAJOR, REDUCE_GRADIENTS, CLIP, BALANCE),
    quizzes=QUIZZES,
    predictions=PREDICTIONS,
    puzzles=PUZZLES,
    claims=CLAIMS,
    sources=(
        "Lepikhin et al. 2020, *GShard*, [arXiv 2006.16668](https://arxiv.org/abs/2006.16668): experts on "
        "several devices, and the two exchanges (section 3)",
        "DeepSeek-AI 2024, *DeepSeek-V3 Technical Report*, [arXiv "
        "2412.19437](https://arxiv.org/abs/2412.19437): node-limited routing (2.1.2), training on 64 "
        "expert-parallel ranks and overlap (3.2), redundant experts in serving (3.4)",
        "DeepSeek-AI 2025, [EPLB](https://github.com/deepseek-ai/EPLB): the load balancer, with the example "
        "that this lesson computes; and [open-infra-index, day "
        "6](https://github.com/deepseek-ai/open-infra-index): how the service ran",
        "PyTorch, [torchtitan](https://github.com/pytorch/torchtitan): an expert-parallel layer to read, "
        "`models/common/token_dispatcher.py`",
        "Reports of gradients that trained: "
        "[pytorch#160285](https://github.com/pytorch/pytorch/issues/160285), "
        "[Megatron-LM#5956](https://github.com/NVIDIA/Megatron-LM/pull/5956), "
        "[DeepSpeed#6546](https://github.com/deepspeedai/DeepSpeed/issues/6546), "
        "[transformers#48687](https://github.com/huggingface/transformers/issues/48687)",
    ),
)
