"""Explorable 0: your sentence through a Mixture-of-Experts layer of a small trained model."""
