"""`pathoprog token ACTION …`: make, list and revoke tokens, also while the service runs; each action goes on record."""

import os
import pwd
import sys
from functools import partial
from pathlib import Path

from pathoprog.errors import ConfigError
from pathoprog.inference.service.access.access_config import TOKENS_FILE, TokenConfig
from pathoprog.inference.service.access.roles import Role
from pathoprog.inference.service.access.tokens import Token, TokenStore
from pathoprog.inference.service.records.audit_lines import Action
from pathoprog.inference.service.records.audit_log import AUDIT_FILE, AuditLog
from pathoprog.system.console import say
from pathoprog.text.plain_text import printable
from pathoprog.text.wording import count

_WORDS = {"add": 2, "list": 1, "revoke": 2}
"""Words of each action, its own included."""


def run(settings: TokenConfig) -> int:
    """Do one action, and put it on record in the state folder's audit log."""
    action, name = (*settings.action, "", "")[:2]
    if len(settings.action) != _WORDS.get(action):
        raise ConfigError(
            "say what to do: `token add NAME role=… state=…`, `token list state=…`, or `token revoke NAME …`"
        )
    state = Path(settings.state)
    if action != "add" and not state.is_dir():
        raise ConfigError(f"state={state}: no such folder; give the service's state folder")
    store = TokenStore(state / TOKENS_FILE)
    if action == "add":
        return _add(store, settings, name)
    if action == "revoke":
        token = store.revoke(name, partial(_record, state, Action.TOKEN_REVOKED))
        _explain(f"{token.name}: revoked (token {token.token_id}); a running service refuses it from now on")
        return 0
    return _list(store, state)


def _add(store: TokenStore, settings: TokenConfig, name: str) -> int:
    record = partial(_record, Path(settings.state), Action.TOKEN_ADDED)
    token, secret = store.add(name, Role(settings.role), settings.days, record)
    say(secret)
    _explain(
        f"{token.name}: {token.role} until {token.expires_at} (token {token.token_id}). The line on standard output is "
        f"the secret: it is shown this once and kept nowhere. `pathoprog token revoke {token.name} …` ends it."
    )
    return 0


def _list(store: TokenStore, state: Path) -> int:
    tokens = store.tokens()
    AuditLog(state / AUDIT_FILE).append(_who(), "", Action.TOKENS_LISTED, "", tokens=len(tokens))
    for token in tokens:
        say(f"{token.token_id}  {store.state(token):<8}{token.role:<11}{token.expires_at}  {token.name}")
    _explain(f"{count(len(tokens), 'token')}: id, state, role, expires, name")
    return 0


def _record(state: Path, action: Action, token: Token) -> None:
    AuditLog(state / AUDIT_FILE).append(
        _who(), "", action, token.token_id, name=token.name, role=token.role.value, expires_at=token.expires_at
    )


def _who() -> str:
    """The machine's user, so written that no token's name looks like it."""
    try:
        return f"user:{pwd.getpwuid(os.getuid()).pw_name}"
    except KeyError:  # a container's user without a name
        return f"user:{os.getuid()}"


def _explain(text: str) -> None:
    print(printable(text), file=sys.stderr, flush=True)
