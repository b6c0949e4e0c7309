"""Files beside a submission that would be imported, or read as settings, if it were run where it lies."""

_TELLTALE = "open('<canary>', 'a').write('imported')\n"
BESIDE = {
    f"beside it {name}": {name: "open({canary!r}, 'a').write('imported')\n"}
    for name in (
        "numpy.py",
        "torch.py",
        "conftest.py",
        "sitecustomize.py",
        "usercustomize.py",
        "nbval.py",
        "pytest.py",
        "moe_lessons/__init__.py",
    )
} | {
    "beside it pytest ini": {"pytest.ini": "[pytest]\naddopts = --nbval-lax -p evil\n", "evil.py": _TELLTALE},
    "beside it a path file": {"x.pth": "import os; open({canary!r}, 'a')\n"},
}
