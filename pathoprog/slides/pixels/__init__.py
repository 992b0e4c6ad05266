"""Compressed pixels: strict decoding, what the data say of themselves, and resampling."""
