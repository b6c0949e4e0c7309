"""The command line: `cli` gathers one module a command. None of them loads torch before it runs."""
