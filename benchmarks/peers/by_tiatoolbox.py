"""Tile features of one slide by TIAToolbox: started by benchmarks/side_by_side.py, in TIAToolbox's own environment.

    python by_tiatoolbox.py JOB.json

Its `DeepFeatureExtractor` with its own MobileNetV2 backbone. Normalisation is computed on a whole batch, inside the
model: by its preprocessing hook it would be computed tile by tile. Writes features [n, d], x0 and y0 [n] (level-0 px).
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
import zarr
from safetensors.torch import load_file
from tiatoolbox.models.architecture.vanilla import CNNBackbone
from tiatoolbox.models.engine.deep_feature_extractor import DeepFeatureExtractor
from tiatoolbox.models.engine.io_config import IOPatchPredictorConfig


class Backbone(CNNBackbone):
    """MobileNetV2 with the given weights, for tiles of 0 to 255."""

    def __init__(self, weights: str, mean: list[float], std: list[float]):
        super().__init__("mobilenet_v2")
        tensors = {name.removeprefix("features."): value for name, value in load_file(weights).items()}
        self.feat_extract.load_state_dict(tensors)
        self.mean = torch.tensor(mean)[:, None, None] * 255
        self.std = torch.tensor(std)[:, None, None] * 255

    def forward(self, imgs: torch.Tensor) -> torch.Tensor:
        """Tiles [n, 3, s, s] to features [n, d]."""
        return super().forward((imgs - self.mean) / self.std)


def main(job: dict) -> None:
    extractor = DeepFeatureExtractor(
        Backbone(job["weights"], job["mean"], job["std"]),
        batch_size=job["batch"],
        num_workers=job["workers"],
        device="cpu",
        verbose=False,
    )
    size = [job["tile_px"], job["tile_px"]]
    config = IOPatchPredictorConfig(
        input_resolutions=[{"units": "mpp", "resolution": job["mpp"]}], patch_input_shape=size, stride_shape=size
    )
    folder = Path(job["out"]).with_suffix("")
    extractor.run(
        [Path(job["slide"])],
        ioconfig=config,
        patch_mode=False,
        auto_get_mask=False,  # every tile of the slide: its tissue is not that of the others
        save_dir=folder,
        output_type="zarr",
    )
    found = zarr.open(next(folder.glob("*.zarr")), mode="r")
    places = np.asarray(found["coordinates"])
    names = ("tiatoolbox", "torch", "openslide-python")
    np.savez(
        job["out"],
        features=np.asarray(found["features" if "features" in found else "probabilities"]),
        x0=places[:, 0],
        y0=places[:, 1],
        versions=json.dumps({name: version(name) for name in names}),
    )


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
