"""Predictions and quiz questions of lesson 15."""

PREDICTIONS: tuple = ()
QUIZZES: tuple = ()
