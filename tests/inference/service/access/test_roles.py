"""Which role may do what: the whole table, as it was agreed."""

import pytest

from pathoprog.inference.service.access.principal import AccessError, Principal
from pathoprog.inference.service.access.roles import MAY, Permission, Role, may

# viewer, evaluator, operator, reviewer, admin
AGREED = """
see_queue        V E O R A
see_results      V E O R A
see_shadow       . E . . A
see_metrics      . . O . A
submit           . . O R A
requeue          . . O . A
cancel           . . O . A
prioritise       . . O . A
override         . . . R A
correct_outline  . . . R A
look_up          . . . R .
release          . . . . A
forget           . . . . A
redeliver        . . . . A
see_audit        . . . . A
"""


def test_the_table_is_as_agreed():
    rows = {
        permission: {letter for letter in letters if letter != "."}
        for permission, *letters in (line.split() for line in AGREED.strip().splitlines())
    }
    assert {permission.value for permission in Permission} == set(rows) == {permission.value for permission in MAY}
    for permission in Permission:
        for role in Role:
            agreed = role.value[0].upper() in rows[permission.value]
            print(f"{permission:<16}{role:<11}{'yes' if agreed else 'no'}")
            assert may(role, permission) is agreed, (permission, role)
            principal = Principal("ada", role, "0" * 8, "token")
            assert principal.may(permission) is agreed
            if not agreed:
                with pytest.raises(AccessError, match=f"the role {role} may not") as caught:
                    principal.demand(permission)
                assert caught.value.status == 403 and caught.value.headers() == {}
            else:
                principal.demand(permission)
