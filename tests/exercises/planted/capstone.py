"""Answers to lesson 17's exercises as learners write them, exercise by exercise."""

from planted import capstone_audit, capstone_defend, capstone_design, capstone_errors, capstone_serve

_PARTS = (capstone_serve, capstone_design, capstone_defend, capstone_audit, capstone_errors)
RIGHT = {id: answers for part in _PARTS for id, answers in part.RIGHT.items()}
WRONG = {id: answers for part in _PARTS for id, answers in part.WRONG.items()}
