"""Files of features as TRIDENT, CLAM and STAMP write them: the same folders, names, keys, attributes, shapes and types.

Held against what the tools' own writers made of made slides: TRIDENT v0.1.1, v0.2.5 and v0.3.1 (commit a91fa84), CLAM
(commit 53e2409), STAMP 2.0.0, 2.2.0 and 2.5.0 (commit c54ce06); none of their code is here (CLAM is GPL, TRIDENT CC
BY-NC-ND). TRIDENT and CLAM write resizable datasets, TRIDENT in chunks of one row.
"""

from pathlib import Path
from typing import Any

import h5py
import numpy as np

PATCH_PX, TILE_UM = 256, 256.0


def _dataset(file: h5py.File, name: str, values: np.ndarray, rows: int, attrs: dict[str, Any] | None = None) -> None:
    rest = values.shape[1:]
    made = file.create_dataset(
        name, shape=values.shape, maxshape=(None, *rest), chunks=(rows, *rest), dtype=values.dtype
    )
    made[:] = values
    for key, value in (attrs or {}).items():
        made.attrs[key] = "None" if value is None else value


def grid(n: int, step: float, columns: int = 4) -> np.ndarray:
    """Corners [n, 2] of n tiles, x first, row by row."""
    return np.stack([np.arange(n) % columns * step, np.arange(n) // columns * step], 1)


def trident_attributes(name: str, magnification: int = 20, scanned_at: int = 40) -> dict[str, Any]:
    """What TRIDENT says of coordinates."""
    level0 = PATCH_PX * scanned_at // magnification
    return {
        "patch_size": PATCH_PX,
        "patch_size_level0": level0,
        "level0_magnification": scanned_at,
        "target_magnification": magnification,
        "overlap": 0,
        "name": name,
        "savetodir": f"processed/{magnification}x_256px_0px_overlap",
        "level0_width": 9000,
        "level0_height": 7000,
    }


def write_trident(
    job: Path,
    name: str,
    values: np.ndarray,
    model: str = "uni_v1",
    magnification: int = 20,
    scanned_at: int = 40,
    early: bool = False,
) -> Path:
    """One slide's tile features in TRIDENT's folder, with the coordinates that it keeps beside them.

    `early`: as its version 0.1.1: no encoder and no size of the slide are named, and tiles lie column by column.
    An encoder in half precision has its features kept so.
    """
    coords_folder = job / f"{magnification}x_{PATCH_PX}px_0px_overlap"
    said = trident_attributes(name, magnification, scanned_at)
    coords = grid(len(values), said["patch_size_level0"]).astype(np.int64)
    if early:
        said = {key: value for key, value in said.items() if key not in ("level0_width", "level0_height")}
        coords = coords[:, ::-1]
    (coords_folder / "patches").mkdir(parents=True, exist_ok=True)
    with h5py.File(coords_folder / "patches" / f"{name}_patches.h5", "w") as file:
        _dataset(file, "coords", coords, 1, said)
    folder = coords_folder / f"features_{model}"
    folder.mkdir(exist_ok=True)
    with h5py.File(folder / f"{name}.h5", "w") as file:
        own = {"name": name, "savetodir": str(folder)} | ({} if early else {"encoder": model})
        _dataset(file, "features", values if values.dtype == np.float16 else values.astype(np.float32), 1, own)
        _dataset(file, "coords", coords, 1, said)
    return folder / f"{name}.h5"


def write_trident_slide(job: Path, name: str, vector: np.ndarray, model: str = "titan", n_tiles: int = 7) -> Path:
    """One slide's vector as TRIDENT writes it: its tiles' coordinates lie beside it, and no encoder is named.

    Of one tile it writes [2] coordinates; of none, values [0] and coordinates [0, 2].
    """
    folder = job / f"20x_512px_0px_overlap/slide_features_{model}"
    folder.mkdir(parents=True, exist_ok=True)
    with h5py.File(folder / f"{name}.h5", "w") as file:
        made = file.create_dataset("features", data=vector.astype(np.float32), maxshape=(None,), chunks=(1,))
        made.attrs["name"], made.attrs["savetodir"] = name, str(folder)
        places = grid(n_tiles, 1024).astype(np.int64)
        _dataset(file, "coords", places[0] if n_tiles == 1 else places, 1, trident_attributes(name))
    return folder / f"{name}.h5"


def write_clam(folder: Path, name: str, values: np.ndarray, pickled: bool = True) -> Path:
    """One slide's features in CLAM's two folders: int32 coordinates, no attributes; the .pt holds the values alone."""
    (folder / "h5_files").mkdir(parents=True, exist_ok=True)
    path = folder / "h5_files" / f"{name}.h5"
    with h5py.File(path, "w") as file:
        _dataset(file, "features", values.astype(np.float32), 32)
        _dataset(file, "coords", grid(len(values), 256).astype(np.int32), 32)
    if pickled:
        import torch

        (folder / "pt_files").mkdir(exist_ok=True)
        torch.save(torch.from_numpy(values.astype(np.float32)), folder / "pt_files" / f"{name}.pt")
    return path


def write_stamp(
    out: Path, slide: str, values: np.ndarray, model: str = "uni2", code: str = "0a1b2c3d", version: str = "2.5.0"
) -> Path:
    """One slide's features as STAMP 2 writes them: half precision, coordinates in um, folders as the slides lay.

    2.0.0 names the model with the hash of its code, and the tile's side in um alone; 2.2.0 does not say what the
    features are of.
    """
    path = (out / f"{model}-{code}" / slide).with_suffix(".h5")
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["coords"] = grid(len(values), TILE_UM).astype(np.float32)
        file["feats"] = values.astype(np.float16)
        said = {"stamp_version": version, "extractor": model, "unit": "um"}
        if version == "2.0.0":
            said |= {"extractor": f"{model}-{code}", "tile_size": TILE_UM}
        else:
            said |= {"tile_size_um": TILE_UM, "tile_size_px": 224, "code_hash": code}
            said |= {} if version == "2.2.0" else {"feat_type": "tile"}
        file.attrs.update(said)
    path.with_suffix(".jpg").write_bytes(b"its thumbnail")
    return path


def write_stamp_whole(out: Path, name: str, vector: np.ndarray, kind: str = "slide", model: str = "titan") -> Path:
    """One vector of a slide, or of a patient, as STAMP's encoders write them: no coordinates."""
    path = out / f"{model}-{'slide' if kind == 'slide' else 'pat'}-0a1b2c3d" / f"{name}.h5"
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["feats"] = vector.astype(np.float32)
        for key, value in {
            "version": "2.5.0",
            "encoder": model,
            "precision": "torch.float32",
            "stamp_version": "2.5.0",
            "code_hash": "0a1b2c3d",
            "feat_type": kind,
        }.items():
            file.attrs[key] = value
    return path
