"""Where tiles may lie: outlines, tissue, the coarse view, and the map of the tumour network. No torch."""
