"""Answers to lesson 17's exercises as learners write them, exercise by exercise."""

from planted import capstone_audit, capstone_defend, capstone_design, capstone_errors, capstone_serve

RIGHT = {
    **capstone_serve.RIGHT,
    **capstone_design.RIGHT,
    **capstone_defend.RIGHT,
    **capstone_audit.RIGHT,
    **capstone_errors.RIGHT,
}
WRONG = {
    **capstone_serve.WRONG,
    **capstone_design.WRONG,
    **capstone_defend.WRONG,
    **capstone_audit.WRONG,
    **capstone_errors.WRONG,
}
