"""Tile features of one slide by LazySlide: started by benchmarks/side_by_side.py, in LazySlide's own environment.

    python by_lazyslide.py JOB.json

Its `tl.feature_extraction` with a model of one's own, given as its documentation has it (a class of `ImageModel`), and
its own transform without the step that scales tiles. Writes features [n, d], x0 and y0 [n] (level-0 px).
"""

import json
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

import lazyslide as zs
import numpy as np
import torch
from lazyslide_models.base import ImageModel
from safetensors.torch import load_file
from torchvision.models import mobilenet_v2
from torchvision.transforms.v2 import Compose, Normalize, ToDtype, ToImage
from wsidata import open_wsi


class Encoder(ImageModel):
    """MobileNetV2 with the given weights."""

    def __init__(self, weights: str, mean: list[float], std: list[float]):
        self.model = mobilenet_v2(weights=None)
        self.model.classifier = torch.nn.Identity()
        self.model.load_state_dict(load_file(weights))
        self.model.eval()
        self.mean, self.std = mean, std

    def get_transform(self) -> Compose:
        """To tensors [3, s, s], normalised."""
        return Compose([ToImage(), ToDtype(dtype=torch.float32, scale=True), Normalize(mean=self.mean, std=self.std)])

    @torch.inference_mode()
    def encode_image(self, image: torch.Tensor) -> torch.Tensor:
        """Tiles [n, 3, s, s] to features [n, d]."""
        return self.model(image)


def main(job: dict) -> None:
    warnings.simplefilter("ignore")  # that tissue was not looked for: every tile of the slide is wanted
    wsi = open_wsi(job["slide"])
    zs.pp.tile_tissues(wsi, job["tile_px"], mpp=job["mpp"])
    features = zs.tl.feature_extraction(
        wsi,
        Encoder(job["weights"], job["mean"], job["std"]),
        model_name="mobilenet_v2",
        device="cpu",
        compile=job["compile"],
        batch_size=job["batch"],
        num_workers=job["workers"],
        pbar=False,
        return_features=True,
    )
    bounds = wsi.shapes["tiles"].bounds
    names = ("lazyslide", "torch", "openslide-python")
    np.savez(
        job["out"],
        features=features,
        x0=bounds["minx"].to_numpy(),
        y0=bounds["miny"].to_numpy(),
        versions=json.dumps({name: version(name) for name in names}),
    )


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
