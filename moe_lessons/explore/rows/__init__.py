"""What explorables of sorted rows share: `plan` has the slots and their order, `columns` draws them."""
