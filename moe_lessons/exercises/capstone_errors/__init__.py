"""The capstone's second half: a page of sentences, some right, some wrong, some neither."""
