"""A small regression problem and a Mixture-of-Experts for it, trained for many seeds at once on a CPU.

`World` makes the data, a `Rule` turns router logits into a `Decision`, `ToyRun` trains S models side by side.
Every expert is computed for every token and masked by its weight: wasteful, but the seeds and the rules then
differ in nothing but the numbers, and an expert that was not chosen gets a gradient of exactly zero.
"""

from moe_lessons.toy.own_bias import BiasStep
from moe_lessons.toy.rules import Decision, EachSeed, Rule, TopK, load_balancing
from moe_lessons.toy.run import Toy, ToyRun
from moe_lessons.toy.together import advance_all
from moe_lessons.toy.world import Batch, World

__all__ = [
    "Batch",
    "BiasStep",
    "Decision",
    "EachSeed",
    "Rule",
    "TopK",
    "Toy",
    "ToyRun",
    "World",
    "advance_all",
    "load_balancing",
]
