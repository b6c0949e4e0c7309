"""Predictions and quiz questions of lesson 06."""

from moe_lessons.exercises.spec import Prediction, Quiz

PREDICTIONS: tuple[Prediction, ...] = ()
QUIZZES: tuple[Quiz, ...] = ()
