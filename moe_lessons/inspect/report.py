"""The report page: one HTML file with its pictures inside, for a browser without a network."""

from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import torch

from moe_lessons.inspect.pictures import effective_picture, information_picture, load_map
from moe_lessons.inspect.trace import InspectError, Trace
from moe_lessons.svg import COLORS, ink_on, visible

MAX_CHOICES = 200_000  # expert ids that the page's strip carries; more make it slow to open
MAX_STRIP_TOKENS = 800
MAX_LISTED = 48  # experts of a layer in the table of what they read


def write_report(trace: Trace, found: dict[str, Any], path: Path) -> None:
    """Write the page.

    Parameters
    ----------
    trace : Trace
    found : dict
        As `findings` returns it.
    path : Path
        The HTML file.

    Raises
    ------
    InspectError
        If it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(render(trace, found), encoding="utf-8", errors="replace")
    except OSError as error:
        raise InspectError(f"cannot write the report to {path}: {error.strerror or error}") from error


def render(trace: Trace, found: dict[str, Any]) -> str:
    """The page as text."""
    layers = found["layers"]
    return _template().render(
        found=found,
        about=trace.about,
        n_layers=len(layers),
        experts=_span([layer["n_experts"] for layer in layers]),
        chosen=_span([layer["top_k"] for layer in layers]),
        labels=list(layers[0]["information"]),
        has_untrained=any("untrained" in layer for layer in layers),
        summary=summary(found),
        load_map=load_map(layers).svg,
        effective=effective_picture(layers).svg,
        information=[information_picture(layers, name).svg for name in layers[0]["information"]],
        strip=strip_data(trace),
        listed=[listed_experts(layer) for layer in layers],
        colors=[{"fill": fill, "ink": ink_on(fill)} for fill in COLORS],
    )


def summary(found: dict[str, Any]) -> list[str]:
    """The page's first lines: what stands out, in sentences that hold for any model."""
    layers = found["layers"]
    lines = []
    least = min(range(len(layers)), key=lambda i: layers[i]["effective_experts"] / layers[i]["n_experts"])
    one = layers[least]
    lines.append(
        f"The least even layer is {least}: its load is as spread out as {one['effective_experts']:.1f} "
        f"equally busy experts of {one['n_experts']}, and its fullest expert gets "
        f"{one['max_violation'] + 1:.1f} times the mean."
    )
    dead = sum(layer["n_dead"] for layer in layers)
    every = sum(layer["n_experts"] for layer in layers)
    lines.append(f"{dead} of {every} experts read nothing of this text.")
    token = [layer["information"]["token"] for layer in layers]
    best = max(range(len(layers)), key=lambda i: token[i]["share"] - token[i]["chance_share"])
    line = (
        f"What a token is tells most about its experts in layer {best}: {100 * token[best]['share']:.0f} % "
        f"of what there is to know, where shuffled tokens give {100 * token[best]['chance_share']:.0f} %"
    )
    if "untrained" in layers[best]:
        share = layers[best]["untrained"]["information"]["token"]["share"]
        line += f" and an untrained copy {100 * share:.0f} %"
    lines.append(line + ".")
    if all(layer["neighbours"] for layer in layers):
        lines.append(_neighbours_line(layers))
    pruned = sum(len(layer["prunable"]) for layer in layers)
    lines.append(
        f"{pruned} of {every} experts hold together at most 1 % of their layer's weight on this text; on "
        "another text they may be others."
    )
    return lines


def _neighbours_line(layers: list[dict[str, Any]]) -> str:
    """How often neighbours share an expert in the layer where they do so most above chance."""
    near = [layer["neighbours"] for layer in layers]
    best = max(range(len(layers)), key=lambda i: near[i]["share"] - near[i]["chance_share"])
    line = (
        f"A token has the first expert of the token before it most often above chance in layer {best}: in "
        f"{100 * near[best]['share']:.0f} % of all cases, where these loads give "
        f"{100 * near[best]['chance_share']:.0f} % by chance"
    )
    copy = layers[best].get("untrained")
    if copy and copy["neighbours"]:
        line += f" and an untrained copy has {100 * copy['neighbours']['share']:.0f} %"
    return line + "."


def strip_data(trace: Trace) -> dict[str, Any]:
    """What the page's strip needs: the first tokens of each file, and their experts, heaviest first."""
    per_token = sum(layer.top_k for layer in trace.layers)
    n_files = len(trace.domains)
    room = max(1, min(MAX_STRIP_TOKENS, MAX_CHOICES // max(per_token, 1)) // n_files)
    chosen = torch.cat([(trace.domains_T == i).nonzero().flatten()[:room] for i in range(n_files)])
    experts = []
    for layer in trace.layers:
        order = layer.topk_weights_TK[chosen].argsort(dim=1, descending=True, stable=True)
        experts.append(layer.topk_ids_TK[chosen].gather(1, order).tolist())
    tokens = [trace.tokens[i] for i in chosen.tolist()]
    domains = trace.domains_T[chosen].tolist()
    return {
        "tokens": [visible(token) for token in tokens],
        "breaks": ["\n" in token for token in tokens],
        "files": [trace.domains[domain] for domain in domains],
        "starts": [i for i in range(len(tokens)) if i == 0 or domains[i] != domains[i - 1]],
        "layers": experts,
        "experts": [layer.n_experts for layer in trace.layers],
        "shown": len(tokens),
        "of": trace.n_tokens,
    }


def listed_experts(layer: dict[str, Any]) -> list[int]:
    """The experts whose tokens are listed: all, or the busiest where they are many; in order of number.

    Examples
    --------
    >>> listed_experts({"load": [3, 0, 5]})
    [0, 1, 2]
    """
    load = layer["load"]
    busiest = sorted(range(len(load)), key=lambda expert: -load[expert])[:MAX_LISTED]
    return sorted(busiest)


def _span(values: list[int]) -> str:
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low} to {high}"


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["percent"] = lambda value: "–" if value is None else f"{100 * value:.0f} %"
    environment.filters["visible"] = visible
    text = resources.files(__package__).joinpath("page.html.j2").read_text(encoding="utf-8")
    return environment.from_string(text)
