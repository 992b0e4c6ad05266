"""What a tile is, and where the tiles of a slide are. No torch."""
