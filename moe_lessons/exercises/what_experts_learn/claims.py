"""The claims that lesson 12 settles."""

from moe_lessons.exercises.spec import Claim

CLAIMS: tuple[Claim, ...] = ()
