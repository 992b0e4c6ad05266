"""Submissions at work: the desk and its store, the lanes, and the one thread that runs them."""
