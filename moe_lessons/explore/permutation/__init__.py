"""The dispatch permutation: `state` plans it, `view` draws, `explorable` has the controls."""
