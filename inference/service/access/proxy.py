"""The named reverse proxy: the address behind it, and the name that it vouches for; from nobody else are they taken."""

import ipaddress

from pathoprog.errors import ConfigError
from pathoprog.inference.service.access.access_config import AccessSettings
from pathoprog.inference.service.access.principal import Principal, forbidden
from pathoprog.inference.service.access.roles import Role
from pathoprog.inference.service.access.tokens import checked_name

FORWARDED = "x-forwarded-for"
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class NamedProxy:
    """The reverse proxy that the settings name, or none.

    One on this machine (127.0.0.1) is any process of this machine: name it so only where nobody else logs in there.

    Args:
        settings: its addresses, its identity header, and the role of each name.

    Raises:
        ConfigError: an address is none, a name has no known role, or there is an identity header and no proxy.
    """

    def __init__(self, settings: AccessSettings):
        self._networks = [_network(text) for text in settings.proxy_addresses]
        self.header = settings.identity_header.lower()
        if self.header and not self._networks:
            raise ConfigError("access.identity_header is given: access.proxy_addresses must say from where it is taken")
        if settings.identity_roles and not self.header:
            raise ConfigError("access.identity_roles is given: access.identity_header must name the header")
        self._roles = {
            checked_name(name, "a name in access.identity_roles"): _role(name, role)
            for name, role in settings.identity_roles.items()
        }

    def is_peer(self, peer: str) -> bool:
        """Whether the address that a connection comes from is the proxy's."""
        address = parsed_address(peer)
        return address is not None and any(address in network for network in self._networks)

    def client(self, peer: str, headers: dict[str, list[str]]) -> str:
        """The address of who asks: the last hop that the proxy names; without the proxy, or such a hop, `peer`.

        Args:
            peer: the address that the connection comes from.
            headers: by name in lower case.
        """
        hops = ",".join(headers.get(FORWARDED, [])).split(",")
        address = parsed_address(hops[-1].strip()) if self.is_peer(peer) else None
        return peer if address is None else str(address)

    def principal(self, peer: str, headers: dict[str, list[str]]) -> Principal | None:
        """Who the proxy says that it has logged in; None if there is no identity header.

        Args:
            peer: the address that the connection comes from.
            headers: by name in lower case.

        Raises:
            AccessError: 403; the header does not come from the proxy, comes twice, or its name has no role.
        """
        given = headers.get(self.header, []) if self.header else []
        if not given:
            return None
        if not self.is_peer(peer):
            raise forbidden("the identity header is taken only from the proxy that the settings name")
        if len(given) > 1:
            raise forbidden("the identity header is there twice; the proxy must replace what a client sends")
        role = self._roles.get(given[0].strip())
        if role is None:
            raise forbidden("the proxy's name for you has no role here; an admin gives it one in the settings")
        return Principal(given[0].strip(), role, "", "proxy")


def parsed_address(text: str) -> _Address | None:
    """An IP address, also with a port behind it as some proxies write; None if it is none."""
    host, _, _ = text[1:].partition("]") if text.startswith("[") else (text, "", "")
    if host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _network(text: str) -> _Network:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ConfigError(f"access.proxy_addresses={text!r}: not an IP address or network") from None
    if network.prefixlen == 0:
        raise ConfigError(f"access.proxy_addresses={text!r}: names every address; name the proxy's own")
    return network


def _role(name: str, role: str) -> Role:
    try:
        return Role(role)
    except ValueError:
        raise ConfigError(
            f"access.identity_roles.{name}={role!r}: must be one of {', '.join(known.value for known in Role)}"
        ) from None
