"""Features that other tools made: how their folders and files lie (TRIDENT, CLAM, STAMP). No torch, no pickle."""
