"""The command `segment`: the tumour network learned, and applied."""
