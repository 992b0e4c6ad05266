"""The kinds of what could name a person, what one finding is, and by which names of fields they are told."""

import re
from dataclasses import dataclass, field

PERSON, CASE, DATE, PLACE = "person", "case", "date", "place"
DEVICE, TEXT, IMAGE, UNREAD = "device", "text", "image", "unread"
KINDS = (PERSON, CASE, DATE, PLACE, DEVICE, TEXT, IMAGE, UNREAD)
"""A person or what is known of one; a number or name of a case, specimen or glass; a day or time; an institution or
computer; a scanner; free text; a picture that may show the label; what could not be looked into."""

SHOWN_CHARACTERS = 200


@dataclass(frozen=True)
class Finding:
    """Something that could name a person.

    Attributes:
        kind: one of `KINDS`.
        where: the field, picture or name that holds it; never what it holds.
        value: what it holds; private, and not in the record's text.
        n: how often it stands in the slide's files.
    """

    kind: str
    where: str
    value: str = field(default="", repr=False)
    n: int = 1


# Names of fields in vendors' texts, letters and digits alone in lower case. The first that fits is taken.
_NAMES = (
    (
        None,
        r"(exposure|scan|focus|integration|dwell|life|zone|total|elapsed)time|timezone|time(zone|out|span|increment)|"
        r"date(format)|(type|format|version|count|crc|section|encoding|checksum)$|datetimeoffset|updatepending|"
        r"comment(start|end)|filenamesuffix|samplesperpixel|sample(rate|format)|sampling|subsampl|oversampl|"
        r"sitecount|userdefined$|nameformat|imagefilecount|schemalocation",
    ),
    (
        PERSON,
        r"patient(?!id|number)|birth|username|^user(id)?$|userid|operator|experimenter(?!ref)|firstname|lastname|"
        r"middlename|surname|givenname|displayname|email|physician|pathologist|author|artist|owner|technician|login|"
        r"person|observer|lastmodifiedby|createdby|modifiedby|^age$|^sex$|gender",
    ),
    (
        CASE,
        r"barcode|accession|case(id|no|num|name)|slide(id|name|label|no|num)|specimen|sample(id|no|num|name)|"
        r"block(id|no|num|name)|patientid|patientnumber|mrn|medicalrecord|label(text|id|name)|filename|title|"
        r"request(id|no|num)|order(id|no|num)|documentname|pagename|^reference$|^case$|^sample$|^slide$",
    ),
    (DATE, r"date|timestamp|^time$|time$|created$|modified$"),
    (
        PLACE,
        r"institut|hospital|department|hostname|hostcomputer|computername|^host$|address|^city|country|laborator|"
        r"^lab(name)?$|organi[sz]ation|company|customer|^site(name)?$|location$|workstation|stationname",
    ),
    (DEVICE, r"serial|scanscopeid|scannerid|deviceid|unitnumber|macaddress|systemid|^ndpsn$"),
    (TEXT, r"description|comment|^notes?$|remark|keyword|caption|diagnos|history|projectname|^project$|subject"),
)
_NAMED = [(kind, re.compile(pattern)) for kind, pattern in _NAMES]
_SAYS_NOTHING = re.compile(
    r"[\W_]*|[\W_]*(unknown|none|null|nil|n/?a|nan|undefined|default|empty|not ?(set|given|known|available|applicable)|"
    r"anon\w*|de-?identified|pseudonym\w*|removed|redacted|true|false|yes|no|x+|0+|1|test)[\W_]*",
    re.IGNORECASE,
)
_NO_DAY = re.compile(r"\D*(0001|1[67]\d\d|1899|1900|1970)\D?01\D?01([T ]?[0:.]+Z?)?\D*|[0:.\s]+")
_HASH = re.compile(r"[{(]?[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}[)}]?|[0-9a-f]{32,}", re.IGNORECASE)


def kind_of(name: str) -> str:
    """The kind of a field by its name, "" where the name says of none."""
    plain = re.sub(r"[^a-z0-9]", "", name.rpartition(":")[2].lower())
    return next((kind or "" for kind, pattern in _NAMED if pattern.search(plain)), "")


def says_something(kind: str, value: str) -> bool:
    """Whether a field's value is more than a word for nothing; of days those that stand for none, of names hashes."""
    if _SAYS_NOTHING.fullmatch(value):
        return False
    if kind == DATE:
        return not _NO_DAY.fullmatch(value)
    return not (kind in (PERSON, CASE) and _HASH.fullmatch(value.strip()))


def merged(findings: list[Finding]) -> tuple[Finding, ...]:
    """Each finding once, with how often it is there, by kind."""
    counts: dict[tuple[str, str, str], int] = {}
    for one in findings:
        key = (one.kind, one.where, one.value)
        counts[key] = counts.get(key, 0) + one.n
    found = [Finding(*key, n) for key, n in counts.items()]
    return tuple(sorted(found, key=lambda one: (KINDS.index(one.kind), one.where, one.value)))
