"""Lesson 05: the load-balancing loss."""
