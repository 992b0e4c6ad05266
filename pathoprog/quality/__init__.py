"""What is measured of a slide, the training slides' reference, and the limits. No torch."""
