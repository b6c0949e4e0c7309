"""The load-loss surface: `state` computes, `panels` and `view` draw, `explorable` has the controls."""
