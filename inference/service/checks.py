"""What must hold between the parts of the service's settings, before anything is started."""

import stat
from collections.abc import Iterable
from pathlib import Path

from pathoprog.errors import ConfigError
from pathoprog.inference.service.access.sessions import is_loopback
from pathoprog.inference.service.config import ServiceSettings
from pathoprog.inference.service.outbound.outbound_config import check_outbound
from pathoprog.scoring.eligibility import TRAITS
from pathoprog.system.file_names import folder_name

MOST_NAME = 64


def check_settings(settings: ServiceSettings) -> None:
    """Check names, references, folders and the address.

    Raises:
        ConfigError: what is wrong, where, and what to do.
    """
    for what in ("bundles", "roots", "routes"):
        _check_names(what, [one.name for one in getattr(settings, what)])
    bundles, roots = ({one.name for one in some} for some in (settings.bundles, settings.roots))
    for root in settings.roots:
        if not Path(root.folder).is_dir():
            raise ConfigError(f"roots.{root.name}: {root.folder} is no folder (if it is a share, is it mounted?)")
    for route in settings.routes:
        where = f"routes.{route.name}"
        if route.root not in roots:
            raise ConfigError(f"{where}.root={route.root}: no such root; there are {', '.join(sorted(roots))}")
        for name in route.bundles:
            if name not in bundles:
                raise ConfigError(f"{where}.bundles: no bundle '{name}'; there are {', '.join(sorted(bundles))}")
        if len(set(route.bundles)) < len(route.bundles):
            raise ConfigError(f"{where}.bundles: a bundle is named twice")
        for trait in route.eligibility:
            if trait not in TRAITS:
                raise ConfigError(f"{where}.eligibility.{trait}: no such trait; there are {', '.join(TRAITS)}")
    routes = {route.name: route for route in settings.routes}
    folders = {root.name: Path(root.folder).resolve() for root in settings.roots}
    for number, watch in enumerate(settings.watch, 1):
        if watch.route not in routes:
            raise ConfigError(f"watch[{number}].route={watch.route}: no such route; there are {', '.join(routes)}")
        its_root = routes[watch.route].root
        if not Path(watch.folder).resolve().is_relative_to(folders[its_root]):
            raise ConfigError(f"watch[{number}].folder={watch.folder}: lies outside the route's root {its_root}")
    watched = [Path(watch.folder).resolve() for watch in settings.watch]
    for number, folder in enumerate(watched, 1):
        if any(folder.is_relative_to(other) for place, other in enumerate(watched, 1) if place != number):
            raise ConfigError(
                f"watch[{number}].folder={folder}: lies in another watched folder; it would be taken twice"
            )
    state, out = Path(settings.state).resolve(), Path(settings.out).resolve()
    for root in settings.roots:
        folder = Path(root.folder).resolve()
        for what, path in (("state", state), ("out", out)):
            if path.is_relative_to(folder):
                raise ConfigError(f"{what}={path} lies in the root {root.name}, where slides are looked for; move it")
    check_outbound(settings.outbound)
    _check_address(settings)


def _check_names(what: str, names: Iterable[str]) -> None:
    seen = set()
    for name in names:
        if len(name) > MOST_NAME or folder_name(name) != name or not name.isprintable() or "," in name:
            raise ConfigError(f"{what}: {name!r} cannot be a name: it must do as a folder's, without commas")
        if name.casefold() in seen:
            raise ConfigError(f"{what}: '{name}' is there twice (upper and lower case are one)")
        seen.add(name.casefold())


def _check_address(settings: ServiceSettings) -> None:
    """Loopback by default; any other address needs TLS of its own, or a named proxy that has it."""
    listen = settings.listen
    if bool(listen.tls_certificate) != bool(listen.tls_key):
        raise ConfigError("listen: tls_certificate and tls_key go together; one is missing")
    if listen.tls_key:
        key = Path(listen.tls_key)
        if not key.is_file():
            raise ConfigError(f"listen.tls_key={key}: no such file")
        if key.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise ConfigError(f"listen.tls_key={key}: others may read it; `chmod 600` it")
    if not is_loopback(listen.host) and not listen.tls_certificate and not settings.access.proxy_addresses:
        raise ConfigError(
            f"listen.host={listen.host}: any address but this machine's own needs TLS (listen.tls_certificate and "
            "listen.tls_key), or a named proxy that has it (access.proxy_addresses)"
        )
