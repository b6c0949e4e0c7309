"""The router playground: `state` routes, `panels` and `view` draw, `explorable` has the controls."""
