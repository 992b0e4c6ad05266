"""Settings of what comes in: watched folders, the patient of a file, local copies, the check for names (light)."""

from dataclasses import dataclass

from pathoprog.settings import setting
from pathoprog.slides.identifying.kinds import KINDS

UNKNOWN = ("wait", "own", "fail")
POLICIES = ("refuse", "warn", "off")


@dataclass
class WatchSettings:
    """One watched folder. Events of file systems are not used: network shares send none."""

    folder: str = setting(
        "", "folder that slides come into; the folders below are watched too", kind="path", required=True
    )
    route: str = setting("", "name of the route that its slides take", required=True)
    poll_s: float = setting(30.0, "seconds from the end of one look at the folder to the next", low=0.1, high=86400)
    settle_s: float = setting(
        60.0,
        "seconds that the size, time and inode of a slide's files must stand still before it is taken; a file named "
        "<file>.ready says at once that it is complete",
        low=0.0,
        high=86400,
    )
    inodes: bool = setting(
        True, "compare inodes too; false for shares whose files get new ones by themselves (as over sshfs or rclone)"
    )
    silence_s: float = setting(
        60.0,
        "seconds without a sign of life from the folder after which it counts as lost",
        low=0.1,
        high=3600,
    )


@dataclass
class PatientRule:
    """Whose a watched slide is: from a table, or from its file name. Without either each slide is its own patient."""

    table: str = setting(
        "",
        "CSV table: file (or slide_id), patient_id, and if known slide_id, block_id, organ, specimen, stain, "
        "neoadjuvant; on a local disk; it is read again when it changes",
    )
    pattern: str = setting(
        "",
        "regular expression that the whole file name without its ending must match, with a group (?P<patient>…) and, "
        "if wanted, (?P<block>…)",
    )
    unknown_patient: str = setting(
        "wait",
        "a slide that the table or the pattern does not know: wait for it to be entered, be its own patient, or fail",
        choices=UNKNOWN,
    )
    ids: str = setting(
        "pseudonym", "names of slides and patients: pseudonyms, or as given", choices=("given", "pseudonym")
    )
    settle_s: float = setting(
        5.0, "seconds that the table must stand still after a change before it is read again", low=0.0, high=3600
    )


@dataclass
class StagingSettings:
    """Local copies of slides that lie on slow shares."""

    folder: str = setting(
        "",
        "folder for the copies, on a local disk; nothing else may lie in it (default: staging in the state folder)",
        kind="path",
    )
    max_gib: float = setting(
        200.0, "largest size of all copies together, GiB; what was used longest ago goes first", low=0.0, open_low=True
    )
    keep_free_gib: float = setting(10.0, "free space of the disk that no copy takes, GiB", low=0.0)


@dataclass
class IdentitySettings:
    """What is done with a slide that holds what could name a person."""

    identity: str = setting(
        "warn", "a slide that holds what could name a person: refuse it, warn of it, or do not look", choices=POLICIES
    )
    kinds: list[str] = setting(list(KINDS), "kinds of findings that count", choices=KINDS)
