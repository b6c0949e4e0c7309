"""The calculator: `state` counts, `view` draws, `explorable` has the controls and questions."""
