"""Explorable 9, the routing strip: a text, each token marked by the experts that read it, layer by layer."""
