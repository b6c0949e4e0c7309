"""The course's face in a page: small ES modules that show what Python computes and draws.

`stage.js` shows an explorable. It knows no mathematics: it holds controls, a picture and a question, sends
what the learner did, and paints what comes back. It speaks to an engine through four functions of an object
called ``model``, which anywidget provides in a notebook; a page with Pyodide provides the same four
(``web/static/course/model.js``):

``model.get(name)``, ``model.on("change:" + name, f)``, ``model.off(...)``, ``model.send(message)``.

Four kinds of things cross the wire, all JSON.

**fixed**, once, read with ``model.get("fixed")``::

    {name,                                         what this explorable is called
     controls: [{label, hint, kind: "range", low, high, step, play}
                {label, hint, kind: "choice", options: [text, ...]}
                {label, hint, kind: "switch"},
                {label, hint, kind: "text"}],
     landmarks: [{label, hint}],                   buttons that jump
     asks: [{text, options: [text, ...]}]}         questions; all of them are asked before the controls unlock

**request**, from the page, with ``model.send``. ``view`` is the sender, ``n`` counts up from 1. What is
left out is not asked for; a request with nothing but ``view`` and ``n`` asks for the present state::

    {view, n, go: landmark, set: {label: value, ...}, commit: option}

A jump comes before values; values are set in the order in which they stand. The value of a choice is the
index of its option. A page has **one request outstanding**. What happens meanwhile is merged into the next
one, so that the newest value wins: a drag drops frames, it never lags behind. An engine ignores a request
whose ``n`` is not above the last one of the same view.

**shown**, the answer, and whatever else changes the picture (a prediction elsewhere that unlocks it). It is
the model's state, so it is what a saved notebook keeps::

    {of: [view, n] or null,        the request that this answers
     svg,                          the picture; its title and caption are shown as text around it
     values: {label: value},       -1 where a choice stands at none of its options
     texts: {label: text},         how the value reads, with its unit
     locked: [label, ...],         controls that wait for a prediction
     shut: [landmark, ...],        landmarks that wait
     error}                        what went wrong in Python, in words, or ""

**asked**, beside it, because it changes rarely; an engine may leave it out where it has not::

    {verdicts: [{text, right, svg}],   of the questions committed to so far
     question: index or null}          the one that is open

In a notebook the page also asks the widget manager whether the kernel still listens (``model.get("id")`` is
what the manager calls the model); an engine without a widget manager is always there. ``model.get("words")``
may hold other words for what the page says itself, such as what it waits for.

A picture marks what can be touched. ``data-handle`` makes an element a handle to drag, which the arrow keys
move as well, ``data-pick`` one to click; both hold JSON, written by `moe_lessons.explore.handles`. An
element with ``data-key`` keeps its identity from frame to frame and moves to its new place; a new one comes
from where the element named in ``data-from`` was.
"""
