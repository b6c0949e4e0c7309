"""The course as a web site: pages for Sphinx from the executed solutions, the claims and the docstrings.

``python -m moe_lessons.build.site`` writes the pages and lets Sphinx make HTML of them; nothing is executed.
"""
