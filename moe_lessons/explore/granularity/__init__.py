"""How fine?: `state` reads trained runs, `view` draws, `explorable` has controls and questions."""
