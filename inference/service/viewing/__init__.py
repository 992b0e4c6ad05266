"""Slides on the page: their tiles by reader processes of their own, maps of tile scores, corrected outlines."""
