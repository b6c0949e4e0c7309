"""A sorted layer and its bugs: `state` follows the rows, `view` draws, `explorable` has the switches."""
