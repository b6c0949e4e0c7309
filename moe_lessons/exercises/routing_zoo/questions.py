"""Predictions and quiz questions of lesson 06."""

from moe_lessons.exercises.spec import Choice, Prediction, Quiz

PREDICTIONS: tuple[Prediction, ...] = ()
QUIZZES: tuple[Quiz, ...] = ()
