"""One candidate: its loop, its checkpoints, its folder, and how it is judged."""
