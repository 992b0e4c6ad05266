"""What comes in: watched folders, whose a slide is, local copies of slides on slow shares, and what names a person."""
