"""What computes a network over tiles: one small interface (`tile_networks`), and an engine for each kind of machine.

`choice` says which engine a run takes; its table names them all.
"""
