"""Design under a budget: what a model costs and is worth, by counting and published laws; and the best."""

from moe_lessons.budget.judging import RESOURCES, Verdict, assess
from moe_lessons.budget.means import KINDS, Budget, draw_budget
from moe_lessons.budget.price import Price, price
from moe_lessons.budget.quality import leverage, predicted_loss
from moe_lessons.budget.ranges import RANGES, refusals
from moe_lessons.budget.scoring import Score, score, what_to_change
from moe_lessons.budget.searching import Found, search, shadow_prices, trained
from moe_lessons.budget.shape import LAYOUTS, Design, usual

__all__ = [
    "KINDS",
    "LAYOUTS",
    "RANGES",
    "RESOURCES",
    "Budget",
    "Design",
    "Found",
    "Price",
    "Score",
    "Verdict",
    "assess",
    "draw_budget",
    "leverage",
    "predicted_loss",
    "price",
    "refusals",
    "score",
    "search",
    "shadow_prices",
    "trained",
    "usual",
    "what_to_change",
]
