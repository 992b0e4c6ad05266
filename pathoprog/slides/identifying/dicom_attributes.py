"""What the attributes of a DICOM file hold that could name a person.

The attributes are those of the Basic Application Level Confidentiality Profile, DICOM PS3.15, Annex E, Table E.1-1 (as
of January 2025), that occur in slides or name a person, a case or a place; UIDs, which lead to a person only through an
archive, and what concerns devices of radiology alone are left out. Beside them: private attributes of text, which the
profile removes, and what says that a label is in the picture (`IMAGES`), which are no part of that table. Items of
sequences are gone through, but for those of single frames.
"""

from pathlib import Path

from pathoprog.slides.dicom.elements import (
    IMPLICIT,
    MAX_VALUE_BYTES,
    NOT_FOLLOWED,
    PREAMBLE_BYTES,
    UNDEFINED,
    ElementError,
    Elements,
    Tag,
    text,
)
from pathoprog.slides.dicom.header import starts_as_dicom
from pathoprog.slides.identifying.kinds import (
    CASE,
    DATE,
    DEVICE,
    IMAGE,
    PERSON,
    PLACE,
    TEXT,
    UNREAD,
    Finding,
    says_something,
)

MAX_PASSED = 1_000_000
PER_FRAME, PIXELS = int(Tag.PER_FRAME), int(Tag.PIXELS)
MARKS = (int(Tag.ITEM), int(Tag.ITEM_END), int(Tag.SEQUENCE_END))
IMAGE_TYPE, LABEL_IN_IMAGE, BURNED_IN = int(Tag.IMAGE_TYPE), 0x00480010, 0x00280301
IMAGES = {IMAGE_TYPE: ("LABEL", "OVERVIEW"), LABEL_IN_IMAGE: ("YES",), BURNED_IN: ("YES",)}
"""Image Type, Specimen Label in Image, Burned In Annotation: values that say so."""
TEXT_KINDS = (b"AE", b"LO", b"LT", b"PN", b"SH", b"ST", b"UC", b"UT")

_BY_KIND = {
    PERSON: {
        0x00080090: "ReferringPhysicianName", 0x00080092: "ReferringPhysicianAddress",
        0x00080094: "ReferringPhysicianTelephoneNumbers", 0x0008009C: "ConsultingPhysicianName",
        0x00081048: "PhysiciansOfRecord", 0x00081050: "PerformingPhysicianName",
        0x00081060: "NameOfPhysiciansReadingStudy", 0x00081070: "OperatorsName",
        0x00100010: "PatientName", 0x00100030: "PatientBirthDate", 0x00100032: "PatientBirthTime",
        0x00100040: "PatientSex", 0x00101001: "OtherPatientNames", 0x00101005: "PatientBirthName",
        0x00101010: "PatientAge", 0x00101020: "PatientSize", 0x00101030: "PatientWeight",
        0x00101040: "PatientAddress", 0x00101060: "PatientMotherBirthName", 0x00101080: "MilitaryRank",
        0x00102000: "MedicalAlerts", 0x00102110: "Allergies", 0x00102150: "CountryOfResidence",
        0x00102152: "RegionOfResidence", 0x00102154: "PatientTelephoneNumbers",
        0x00102155: "PatientTelecomInformation", 0x00102160: "EthnicGroup", 0x00102180: "Occupation",
        0x001021A0: "SmokingStatus", 0x001021B0: "AdditionalPatientHistory", 0x001021C0: "PregnancyStatus",
        0x001021D0: "LastMenstrualDate", 0x001021F0: "PatientReligiousPreference",
        0x00102297: "ResponsiblePerson", 0x00104000: "PatientComments", 0x00321032: "RequestingPhysician",
        0x00400006: "ScheduledPerformingPhysicianName", 0x00401010: "NamesOfIntendedRecipientsOfResults",
        0x00401102: "PersonAddress", 0x00401103: "PersonTelephoneNumbers", 0x00401104: "PersonTelecomInformation",
        0x00402008: "OrderEnteredBy", 0x0040A075: "VerifyingObserverName", 0x0040A123: "PersonName",
    },
    CASE: {
        0x00080050: "AccessionNumber", 0x00100020: "PatientID", 0x00100021: "IssuerOfPatientID",
        0x00101000: "OtherPatientIDs", 0x00101090: "MedicalRecordLocator", 0x00120040: "ClinicalTrialSubjectID",
        0x00181004: "PlateID", 0x00200010: "StudyID", 0x00380010: "AdmissionID", 0x00380060: "ServiceEpisodeID",
        0x00400253: "PerformedProcedureStepID", 0x0040050A: "SpecimenAccessionNumber",
        0x00400512: "ContainerIdentifier", 0x00400551: "SpecimenIdentifier", 0x004006FA: "SlideIdentifier",
        0x00401001: "RequestedProcedureID", 0x00402016: "PlacerOrderNumberImagingServiceRequest",
        0x00402017: "FillerOrderNumberImagingServiceRequest", 0x22000002: "LabelText", 0x22000005: "BarcodeValue",
    },
    DATE: {
        0x00080020: "StudyDate", 0x00080021: "SeriesDate", 0x00080022: "AcquisitionDate", 0x00080023: "ContentDate",
        0x0008002A: "AcquisitionDateTime", 0x00080030: "StudyTime", 0x00080031: "SeriesTime",
        0x00080032: "AcquisitionTime", 0x00080033: "ContentTime", 0x00380020: "AdmittingDate",
        0x00400244: "PerformedProcedureStepStartDate",
    },
    PLACE: {
        0x00080080: "InstitutionName", 0x00080081: "InstitutionAddress", 0x00081010: "StationName",
        0x00081040: "InstitutionalDepartmentName", 0x00102299: "ResponsibleOrganization",
        0x00321033: "RequestingService", 0x00380300: "CurrentPatientLocation",
        0x00380400: "PatientInstitutionResidence", 0x00402009: "OrderEntererLocation",
        0x00402010: "OrderCallbackPhoneNumber", 0x0040A027: "VerifyingOrganization",
        0x00120060: "ClinicalTrialCoordinatingCenterName",
    },
    DEVICE: {0x00181000: "DeviceSerialNumber", 0x00181005: "GeneratorID", 0x00181008: "GantryID"},
    TEXT: {
        0x00081030: "StudyDescription", 0x0008103E: "SeriesDescription", 0x00081080: "AdmittingDiagnosesDescription",
        0x00082111: "DerivationDescription", 0x00181030: "ProtocolName",
        0x00181400: "AcquisitionDeviceProcessingDescription", 0x00184000: "AcquisitionComments",
        0x00204000: "ImageComments", 0x00209158: "FrameComments", 0x00321030: "ReasonForStudy",
        0x00321060: "RequestedProcedureDescription", 0x00324000: "StudyComments", 0x00380500: "PatientState",
        0x00384000: "VisitComments", 0x00400254: "PerformedProcedureStepDescription",
        0x00400280: "CommentsOnThePerformedProcedureStep", 0x0040051A: "ContainerDescription",
        0x00400600: "SpecimenShortDescription", 0x00400602: "SpecimenDetailedDescription",
        0x00401400: "RequestedProcedureComments", 0x00402001: "ReasonForTheImagingServiceRequest",
        0x00402400: "ImagingServiceRequestComments",
    },
}  # fmt: skip
ATTRIBUTES = {tag: (name, kind) for kind, tags in _BY_KIND.items() for tag, name in tags.items()}
_SEQUENCES = (0x00400560, 0x00400610, 0x00400612, 0x00081084, 0x00400275, 0x00321064)
"""Sequences that are gone into where a file does not name the kinds of its values: specimens, preparation, requests."""


def dicom_findings(path: Path) -> list[Finding] | None:
    """What could name a person; None for a file that is no DICOM file.

    Raises:
        OSError: the file cannot be read.
    """
    found: list[Finding] = []
    with path.open("rb") as stream:
        if not starts_as_dicom(stream):
            return None
        elements = Elements(stream, MAX_PASSED)
        try:
            _walk(elements, found)
        except ElementError:
            found.append(Finding(UNREAD, "the DICOM attributes from some byte on, which cannot be followed"))
    return found


def _walk(elements: Elements, found: list[Finding]) -> None:
    """Go through all elements in the file's order; sequences and items are stepped into, values passed by length.

    Raises:
        ElementError: the file is cut or damaged.
    """
    stream = elements.stream
    stream.seek(PREAMBLE_BYTES)
    n_private = 0
    while stream.tell() < elements.size:
        implicit = elements.syntax == IMPLICIT
        tag, kind, length = elements.next_element(implicit)
        if tag == PIXELS and length == UNDEFINED:
            break
        if tag == PER_FRAME and length == UNDEFINED:
            break  # what each frame says, and behind it the pixels
        if tag in MARKS or (tag != PER_FRAME and _is_sequence(tag, kind, length, implicit)):
            continue
        if length == UNDEFINED:
            found.append(Finding(UNREAD, f"the DICOM attributes from ({tag >> 16:04X},{tag & 0xFFFF:04X}) on"))
            break
        start = stream.tell()
        if start + length > elements.size:
            raise ElementError("the file ends", start, ended=True)
        if tag == Tag.SYNTAX:
            elements.syntax = text(elements.value(length))
        elif tag in ATTRIBUTES or tag in IMAGES:
            found += _of(tag, _decoded(elements.value(min(length, MAX_VALUE_BYTES))))
        elif (tag >> 16) & 1 and kind in TEXT_KINDS and length:
            n_private += says_something(TEXT, _decoded(elements.value(min(length, MAX_VALUE_BYTES))))
        stream.seek(start + length)
        if tag == Tag.SYNTAX and elements.syntax in NOT_FOLLOWED:
            what = NOT_FOLLOWED[elements.syntax]
            found.append(Finding(UNREAD, f"all DICOM attributes: stored {what}, which is not read here"))
            break
    if n_private:
        found.append(Finding(TEXT, "private DICOM attributes of text", n=n_private))


def _is_sequence(tag: int, kind: bytes, length: int, implicit: bool) -> bool:
    """Whether an element holds items; where kinds are not named, only those of no length and known ones are told."""
    return kind == b"SQ" or (implicit and (length == UNDEFINED or tag in _SEQUENCES))


def _of(tag: int, value: str) -> list[Finding]:
    if tag in IMAGES:
        said = [one for one in IMAGES[tag] if one in value.upper().split("\\")]
        where = {IMAGE_TYPE: "DICOM image of type", LABEL_IN_IMAGE: "SpecimenLabelInImage", BURNED_IN: "BurnedIn"}[tag]
        return [Finding(IMAGE, f"{where} {one}") for one in said]
    name, kind = ATTRIBUTES[tag]
    return [Finding(kind, name, value)] if says_something(kind, value.replace("^", " ")) else []


def _decoded(value: bytes) -> str:
    try:
        found = value.decode("utf-8")
    except UnicodeDecodeError:
        found = value.decode("latin-1")
    return found.strip(" \0")
