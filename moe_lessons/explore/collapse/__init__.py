"""The collapse race: `state` reads the trained runs, `view` draws, `explorable` has the controls."""
