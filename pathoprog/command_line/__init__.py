"""How the command line becomes a command's typed settings: flags, literal paths, the user's own files, sweeps.

The only room that imports Hydra and OmegaConf; `pathoprog/cli.py` names the commands, and hands each to it.
"""
