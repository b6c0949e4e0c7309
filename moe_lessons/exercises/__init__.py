"""Exercises: for each lesson, what is asked, how an answer is judged, and which mistakes are recognised.

``spec`` says what an exercise is, ``drivers`` call a learner's function (the only part that touches it),
``judge`` compares what came back with the reference, ``registry`` finds an exercise by its id.
"""
