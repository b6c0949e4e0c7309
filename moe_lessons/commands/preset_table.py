"""The presets side by side, with what they cost; loads no torch."""

from moe_lessons.accounting import count
from moe_lessons.config import EXPECTED, PRESETS, preset
from moe_lessons.training.utilisation import describe_model, flops_per_token, peak_flops


def expected_seconds(name: str) -> float | None:
    """Estimate a preset's time on the device it is sized for: its FLOPs, over a guessed share of the peak.

    None where there is no guess because it runs on any CPU.

    Examples
    --------
    >>> 500 < expected_seconds("gpu-base") < 700
    True
    """
    if name not in EXPECTED:
        return None
    device, share = EXPECTED[name]
    config = preset(name)
    peak = peak_flops(device, config.precision)
    assert peak is not None
    return config.steps * config.tokens_per_step * flops_per_token(config.model) / (share * peak)


def preset_table() -> str:
    """Describe each preset in a line.

    Examples
    --------
    >>> print(preset_table().splitlines()[1])
    cpu-tiny  1.8 M  0.7 M  1.7 M  auto  language-reference  any CPU
    """
    rows = [("preset", "total", "active", "tokens", "precision", "corpus", "sized for")]
    for name, config in PRESETS.items():
        counted = count(describe_model(config.model))
        seconds = expected_seconds(name)
        rows.append(
            (
                name,
                _millions(counted.total),
                _millions(counted.active),
                _millions(config.steps * config.tokens_per_step),
                config.precision,
                str(config.corpus),
                "any CPU" if seconds is None else f"{EXPECTED[name][0]}, about {seconds / 60:.0f} minutes",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    guesses = ", ".join(f"{share:.0%} for {name}" for name, (_, share) in EXPECTED.items())
    return "\n".join(
        [
            *(line.rstrip() for line in lines),
            "",
            "total, active: parameters, and those that one token meets.",
            f"Minutes are estimates from FLOPs at a guessed share of the peak ({guesses}); not measured.",
        ]
    )


def _millions(number: int) -> str:
    return f"{number / 1e6:,.1f} M"
