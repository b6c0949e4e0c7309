"""Names and messages that would be markup on a feedback page, or in the summary, if they were not data."""

from attacks.cell import function

_LINK = '"><a href="https://evil.example">ESC</a>`[click](https://evil.example)<script>1</script>'

MARKUP = {
    "a borrowed module named markup": function(
        f"return {_LINK!r}",
        f"def helper(): pass\nhelper.__module__ = 'moe_lessons.' + {_LINK!r}\n<entry>_kept = helper",
    ).replace("return", "helper\n    return", 1),
    "a module's name is markup": function(
        "return thing",
        f"""
        import types
        thing = types.ModuleType('moe_lessons.x' + {_LINK!r})""",
    ),
    "a missing module named markup": function(
        f'raise ModuleNotFoundError("No module named \'moe_lessons.a" + {_LINK!r} + "\'")'
    ),
    "a name that is not defined, with a link": function(
        "raise NameError(\"name '[here](https://evil.example)<b>' is not defined\")"
    ),
    "a shape in an error, with a link": function(
        'raise RuntimeError("mat1 and mat2 shapes cannot be multiplied (3x4 and [5](https://evil.example)x6)")'
    ),
    "a class named markup": function(
        "raise Bad('\\u202e' + 'gro.live')", f"Bad = type({_LINK!r}, (Exception,), {{}})"
    ),
    "no function but a type named markup": f"<entry> = type({_LINK!r}, (), {{}})()\n",
}
