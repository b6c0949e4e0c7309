"""Lesson 08: dispatch."""
