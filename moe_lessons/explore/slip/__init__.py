"""Explorable *Slip*: which tokens a small error sends to other experts, and what becomes of them."""
