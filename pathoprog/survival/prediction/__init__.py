"""How well a score or a predicted risk foretells."""
