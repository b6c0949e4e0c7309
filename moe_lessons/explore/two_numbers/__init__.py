"""Explorable: what two rounded numbers, total and active, say about a model that nobody may look into."""
