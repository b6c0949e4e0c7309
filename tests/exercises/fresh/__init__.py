"""Wrong answers written after the specs, as learners would write them, and which names would be right.

`FRESH[exercise]` holds triples: what was done wrong, the answer, and the ids that would name it rightly
(none where no name is known yet: then silence is right). Unlike the planted ones they need not be named.
"""

from fresh import dispatch, gates, layers, measures

FRESH = {**gates.FRESH, **layers.FRESH, **measures.FRESH, **dispatch.FRESH}
