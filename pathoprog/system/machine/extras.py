"""What an installation holds beside the core, and which command needs it: one table, for the command line and the docs.

``pip install pathoprog`` has neither torch nor MLflow, Ray or a slide library; `pyproject.toml` lists the same extras
for installers (a test compares the two), and docs/install.md shows what each installation can do. Light: the command
line imports this before it knows what it is asked for.
"""

import importlib.util
from dataclasses import dataclass, field

from pathoprog.errors import ConfigError


@dataclass(frozen=True)
class Extra:
    """One of pyproject's extras.

    Attributes:
        modules: what each of its distributions is imported as.
        includes: extras that it brings along.
        spared: of its distributions, those without which its commands still run.
    """

    modules: dict[str, str] = field(default_factory=dict)
    includes: tuple[str, ...] = ()
    spared: tuple[str, ...] = ()


EXTRAS = {
    "slides": Extra(
        {
            "imagecodecs": "imagecodecs",
            "openslide-bin": "openslide_bin",
            "openslide-python": "openslide",
            "pillow": "PIL",
            "shapely": "shapely",
            "simplejpeg": "simplejpeg",
            "tifffile": "tifffile",
            "tiffslide": "tiffslide",
        },
        spared=("openslide-bin",),  # a system's own OpenSlide serves as well
    ),
    "score": Extra(
        {
            "h5py": "h5py",
            "openvino": "openvino",
            "psutil": "psutil",
            "reportlab": "reportlab",
            "safetensors": "safetensors",
            "scikit-image": "skimage",
            "segmentation-models-pytorch": "segmentation_models_pytorch",
            "timm": "timm",
            "torch": "torch",
            "torchvision": "torchvision",
        },
        includes=("slides",),
        spared=("openvino",),  # without it torch computes
    ),
    "service": Extra(
        {
            "fastapi": "fastapi",
            "prometheus-client": "prometheus_client",
            "urllib3": "urllib3",
            "uvicorn": "uvicorn",
        },
        includes=("score",),
    ),
    "train": Extra({"mlflow": "mlflow"}, includes=("score",), spared=("mlflow",)),  # without it runs are not logged
    "ray": Extra({"ray": "ray"}),
    "search": Extra({"optuna": "optuna"}),
    "signing": Extra({"model-signing": "model_signing", "pyopenssl": "OpenSSL"}),
    "all": Extra(includes=("train", "service", "ray", "search", "signing")),
    "notebook": Extra({"jupyterlab": "jupyterlab"}),
}

NEEDED = {
    "demo": "train",
    "inspect": "slides",
    "deidentify": "slides",
    "simulate": "slides",
    "tiles": "score",
    "segment": "train",
    "convert": "score",
    "features": "score",
    "train": "train",
    "train_ensemble": "train",
    "cross_validate": "train",
    "compare": "train",
    "control": "train",
    "ensemble": "train",
    "match_features": "score",
    "promote": "train",
    "score": "score",
    "serve": "service",
    "forget": "service",
    "restore": "service",
    "sign": "signing",
}
"""The extra that a command needs; one that is not here runs with the core alone."""


def installed(module: str) -> bool:
    """Whether a top-level module can be imported; it is not imported."""
    return importlib.util.find_spec(module) is not None


def lacking(extra: str) -> list[str]:
    """Distributions of an extra, and of those it includes, that are needed and not there; in the table's order."""
    table = EXTRAS[extra]
    missing = [name for part in table.includes for name in lacking(part)]
    return missing + [
        name for name, module in table.modules.items() if name not in table.spared and not installed(module)
    ]


def how_to_install(extra: str) -> str:
    """The call that installs an extra."""
    return f"pip install 'pathoprog[{extra}]'"


def check_command(command: str) -> None:
    """Refuse a command whose extra is not installed, before it imports anything of it.

    Raises:
        ConfigError: names what is missing, and the call that installs it.
    """
    extra = NEEDED.get(command, "")
    if missing := lacking(extra) if extra else []:
        raise ConfigError(f"not installed: {', '.join(missing)}; {command} takes {how_to_install(extra)}")
