"""From tiles to scores to a slide's and a patient's result."""
