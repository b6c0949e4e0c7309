"""Capacity and drops: `state` routes by chance, `panels` and `view` draw, `explorable` has the controls."""
