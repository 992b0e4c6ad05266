"""`pathoprog tiles`: cut the tiles of a cohort once into a tile store, so that training does not wait for slides."""

from pathoprog.cohort_tables.cohort import read_cohort
from pathoprog.errors import InputError
from pathoprog.system.console import say
from pathoprog.training.config import TilesConfig
from pathoprog.training.data import tile_store
from pathoprog.training.data.checks import check_files
from pathoprog.training.data.data_config import check_data


def run(settings: TilesConfig) -> int:
    """Read the cohort, cut what is missing; exit code 1 if some slides could not be read."""
    check_data(settings.data, "store")
    cohort = read_cohort(settings.data.cohort, settings.data.overlap)
    chosen = cohort[cohort["role"].isin(settings.roles)]
    if chosen.empty:
        raise InputError(f"{settings.data.cohort}: no row has a role among {', '.join(settings.roles)}")
    say(f"  {len(chosen)} slides with role {', '.join(settings.roles)}")
    check_files(chosen, settings.data)
    failed = tile_store.build(chosen, settings.data, settings.force)
    if failed:
        say(f"  {failed} slides could not be read (named above); the others are in the store")
    return 1 if failed else 0
