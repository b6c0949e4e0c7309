"""What runs in the page: one small ES module per face, and the Python that it speaks with."""
