"""The stages of a day with a GPU, in order of worth: one module each, run by `benchmarks/gpu_day.py`.

A stage module has `LIMIT_S`, the seconds it is given on a GPU, and `run(stage)`; all it knows is its `Stage`.
"""
