"""Roles, and the one table that says which role may do what."""

from enum import StrEnum


class Role(StrEnum):
    """What a token's holder is; a token has one role."""

    VIEWER = "viewer"
    EVALUATOR = "evaluator"
    OPERATOR = "operator"
    REVIEWER = "reviewer"
    ADMIN = "admin"


class Permission(StrEnum):
    """What a request asks to do."""

    SEE_QUEUE = "see_queue"
    """Submissions, their state and events: ids only."""
    SEE_RESULTS = "see_results"
    """Released results, their reports and files, one or many."""
    SEE_SHADOW = "see_shadow"
    """Results of a bundle that is still in shadow."""
    SEE_METRICS = "see_metrics"
    SUBMIT = "submit"
    REQUEUE = "requeue"
    CANCEL = "cancel"
    PRIORITISE = "prioritise"
    OVERRIDE = "override"
    """Submit with a statement that replaces what the file or route says (um/px, eligibility)."""
    CORRECT_OUTLINE = "correct_outline"
    """Accept a slide's outline, or have the slide scored again with a corrected one."""
    LOOK_UP = "look_up"
    """Find a case by its number, through the map of pseudonyms; each look-up is put on record."""
    RELEASE = "release"
    """Let a bundle's results out of shadow, or take a result back."""
    FORGET = "forget"
    """Take a patient's ids, files and results away for good, as the law may ask."""
    REDELIVER = "redeliver"
    """See what receivers of webhooks refused, and have it sent again."""
    SEE_AUDIT = "see_audit"


_V, _E, _O, _R, _A = Role.VIEWER, Role.EVALUATOR, Role.OPERATOR, Role.REVIEWER, Role.ADMIN

MAY: dict[Permission, frozenset[Role]] = {
    Permission.SEE_QUEUE: frozenset({_V, _E, _O, _R, _A}),
    Permission.SEE_RESULTS: frozenset({_V, _E, _O, _R, _A}),
    Permission.SEE_SHADOW: frozenset({_E, _A}),  # the case team, reviewers too, stay blind to what is not released
    Permission.SEE_METRICS: frozenset({_O, _A}),
    Permission.SUBMIT: frozenset({_O, _R, _A}),
    Permission.REQUEUE: frozenset({_O, _A}),
    Permission.CANCEL: frozenset({_O, _A}),
    Permission.PRIORITISE: frozenset({_O, _A}),
    Permission.OVERRIDE: frozenset({_R, _A}),
    Permission.CORRECT_OUTLINE: frozenset({_R, _A}),
    # Not the admin: who gives out tokens has no need to know whose slide it is. An admin who must look makes a
    # reviewer's token, and the audit log has a line of that.
    Permission.LOOK_UP: frozenset({_R}),
    Permission.RELEASE: frozenset({_A}),
    Permission.FORGET: frozenset({_A}),
    Permission.REDELIVER: frozenset({_A}),
    Permission.SEE_AUDIT: frozenset({_A}),
}
"""Who may do what."""


def may(role: Role, permission: Permission) -> bool:
    """Whether a role has a permission."""
    return role in MAY[permission]
