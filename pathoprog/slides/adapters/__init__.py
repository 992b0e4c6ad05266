"""One adapter per library that reads slides, and the fast path."""
