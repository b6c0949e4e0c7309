"""Explorable: a bench on which a design is tried against a budget, with the best one marked."""
