"""The claims that lesson 06 settles."""

from moe_lessons.exercises.spec import Claim

CLAIMS: tuple[Claim, ...] = ()
