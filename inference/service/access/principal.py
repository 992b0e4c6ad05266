"""Who asks, and the one error that turns a request away."""

import math
from dataclasses import dataclass

from pathoprog.errors import PathoprogError
from pathoprog.inference.service.access.roles import Permission, Role, may


class AccessError(PathoprogError):
    """A request is turned away. Neither text holds anything secret, and both may be shown to who asked.

    Attributes:
        status: of HTTP: 401 who asks is not known, 403 may not, 429 must wait, 503 cannot be checked now.
        title: short, the same for all of its kind.
        detail: what is wrong with this request and what to do.
        retry_after: whole seconds to wait; 0 if waiting does not help.
    """

    def __init__(self, status: int, title: str, detail: str, retry_after: int = 0):
        super().__init__(f"{title}: {detail}")
        self.status, self.title, self.detail, self.retry_after = status, title, detail, retry_after

    def headers(self) -> dict[str, str]:
        """Headers that the answer must have."""
        headers = {"WWW-Authenticate": "Bearer"} if self.status == 401 else {}
        return headers | ({"Retry-After": str(self.retry_after)} if self.retry_after else {})


def unknown(detail: str) -> AccessError:
    """Who asks is not known."""
    return AccessError(401, "Not logged in", detail)


def forbidden(detail: str) -> AccessError:
    """Who asks may not do this."""
    return AccessError(403, "Not allowed", detail)


def too_many(seconds: float, what: str) -> AccessError:
    """Who asks must wait `seconds`."""
    wait = max(math.ceil(seconds), 1)
    return AccessError(429, "Too many requests", f"{what}; try again in {wait} s", wait)


@dataclass(frozen=True)
class Principal:
    """Who asks.

    Attributes:
        name: of the person or system.
        role: what it may do.
        token_id: of its token; "" if a proxy named it.
        how: ``token``, ``session`` or ``proxy``.
    """

    name: str
    role: Role
    token_id: str
    how: str

    def may(self, permission: Permission) -> bool:
        """Whether its role has a permission."""
        return may(self.role, permission)

    def demand(self, permission: Permission) -> None:
        """Go on only with a permission.

        Raises:
            AccessError: 403; its role has it not.
        """
        if not self.may(permission):
            raise forbidden(f"the role {self.role} may not {permission.replace('_', ' ')}")
