"""The decode roofline: `state` counts bytes and FLOPs, `view` draws, `explorable` has the controls."""
