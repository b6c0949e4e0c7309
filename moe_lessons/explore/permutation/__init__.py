"""The dispatch permutation: `state` plans it, `panels` and `view` draw, `explorable` has the controls."""
