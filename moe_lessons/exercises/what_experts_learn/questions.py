"""What lesson 12 asks: predictions and quizzes."""

from moe_lessons.exercises.spec import Prediction, Quiz

PREDICTIONS: tuple[Prediction, ...] = ()
QUIZZES: tuple[Quiz, ...] = ()
