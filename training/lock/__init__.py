"""The command `ensemble`: choice, tuning scored as slides are scored, cards, and what the bundle keeps."""
