"""Explorable *Blind test*: four ways to colour a text by experts, of which one is a trained router's."""
