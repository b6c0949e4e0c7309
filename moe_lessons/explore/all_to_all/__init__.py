"""All to all: `state` places experts and draws tokens, `view` draws, `explorable` has controls, questions."""
