"""The builder: ``lessons/*.py`` to ``notebooks/`` (for learners) and ``solutions/`` (executed).

``source`` reads a lesson, ``render`` makes its cells, ``execute`` runs the solutions. ``readme`` fills in the
README's table, ``house`` draws the map in ARCHITECTURE.md, from what ``rooms`` reads off the imports.
``python -m moe_lessons.build`` puts them together and ``--check`` says what is stale.
"""
