"""The one rule by which an id becomes the name of a folder or file."""

from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

from pathoprog.system.files import MOST_NAME_BYTES, bounded_name


def folder_name(slide_id: str) -> str:
    """A slide's folder: its id, with what file systems refuse written as ``%XX``, a long one cut."""
    name = quote(slide_id, safe=" ()[]+,@=!", errors="surrogatepass")
    return bounded_name(f"%2E{name[1:]}" if name.startswith(".") else name, MOST_NAME_BYTES)


def file_name(slide_id: str) -> str:
    """A slide's file without its ending: its folder's name, cut earlier, so that there is room for an ending."""
    return bounded_name(folder_name(slide_id))


def file_name_in(folder: Path, slide_id: str, endings: Iterable[str]) -> str:
    """`file_name`, or the name that stores of earlier versions gave if one of its files lies in `folder`.

    Those wrote six more characters as ``%XX`` and left a leading dot; of most ids both names are the same.
    """
    name, earlier = file_name(slide_id), bounded_name(quote(slide_id, safe=" ._-+()", errors="surrogatepass"))
    there = earlier != name and any((folder / f"{earlier}{ending}").is_file() for ending in endings)
    return earlier if there else name
