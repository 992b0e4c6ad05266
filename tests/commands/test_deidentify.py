"""`pathoprog deidentify`: what is planted in slides is found, and no value is shown unasked."""

import json
import struct

import numpy as np
import pytest
import tifffile
from made_dicom import element, implicit_element, sequence
from made_dicom_head import EXPLICIT, IMPLICIT, write_dicom
from made_hamamatsu import write_vms
from made_mirax import write_mirax
from made_ndpi import write_ndpi
from made_slides import aperio_description, texture, write_pyramid
from shared_data import shared_data

from pathoprog.cli import main
from pathoprog.slides.identifying.kinds import KINDS, kind_of, says_something
from pathoprog.slides.identifying.names import name_findings
from pathoprog.slides.identifying.reading import identifying_in

PLANTED = "Nordmann Kari"
EXIF_STAND_IN = 65100


def found_in(path):
    """(kind, where) of a slide's findings, names of files and folders apart."""
    return {(one.kind, one.where) for one in identifying_in(path) if "looks like" not in one.where}


def holders(path):
    """Fields that hold the planted name."""
    return {one.where for one in identifying_in(path) if PLANTED in one.value.replace("^", " ")}


def printed(capsys, *arguments):
    code = main(["deidentify", *map(str, arguments)])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.out + captured.err
    return code, captured.out


def test_a_plain_pyramid_holds_nothing_and_the_exit_code_says_so(tmp_path, capsys):
    write_pyramid(tmp_path / "slide.tif", texture(512, 512))
    code, text = printed(capsys, tmp_path / "slide.tif")
    assert code == 0 and "nothing found" in text
    assert main(["deidentify", str(tmp_path / "no.tif")]) == 2


def test_values_are_shown_only_when_asked_for(tmp_path, capsys):
    path = write_pyramid(tmp_path / "slide.svs", texture(512, 512), description=f"Aperio x|User = {PLANTED}|MPP = 0.25")
    code, text = printed(capsys, path)
    assert code == 1 and "person" in text and "13 characters" in text and "Kari" not in text
    assert "Kari" in printed(capsys, path, "show=true")[1]
    code, text = printed(capsys, path, "--json")
    records = json.loads(text)
    assert records[0]["findings"] == [
        {"kind": "person", "where": "ImageDescription: User", "characters": 13, "times": 1}
    ]
    assert json.loads(printed(capsys, path, "--json", "show=true")[1])[0]["findings"][0]["value"] == PLANTED
    assert printed(capsys, path, "kinds=[date]")[0] == 0
    assert "Kari" not in repr(identifying_in(path))


def test_every_field_of_aperio_that_may_name_someone(tmp_path):
    fields = ["Filename", "User", "Title", "Barcode", "Patient", "Description", "Slide Label"]
    text = aperio_description(512, 512, 0.25) + "".join(f"|{name} = {PLANTED}" for name in fields)
    text += "|Date = 12/29/09|Time = 09:59:15|Exposure Time = 109|Time Zone = GMT-05:00|User = 00000000-0000"
    path = write_pyramid(tmp_path / "s.svs", texture(512, 512), description=text)
    assert holders(path) == {f"ImageDescription: {name}" for name in fields}
    dates = {where for kind, where in found_in(path) if kind == "date"}
    assert dates == {"ImageDescription: Date", "ImageDescription: Time"}


def test_label_and_macro_images_are_said_to_be_there(tmp_path):
    path = tmp_path / "s.svs"
    image = texture(512, 512)
    with tifffile.TiffWriter(path) as tiff:
        options = {"metadata": None, "photometric": "rgb"}
        tiff.write(image, tile=(256, 256), description=aperio_description(512, 512, 0.25), **options)
        tiff.write(image[::4, ::4], description="Aperio\n512x512 -> 128x128 - |AppMag = 40", **options)
        tiff.write(np.zeros((80, 90, 3), np.uint8), description="Aperio\nlabel 90x80", subfiletype=1, **options)
        tiff.write(np.zeros((80, 200, 3), np.uint8), description="Aperio\nmacro 200x80", subfiletype=9, **options)
        tiff.write(np.zeros((40, 200, 3), np.uint8), **options)
    assert {where for kind, where in found_in(path) if kind == "image"} == {
        "label image", "macro image", "an image that is no level of the slide",
    }  # fmt: skip


TEXT_TAGS = {
    269: "DocumentName", 285: "PageName", 315: "Artist", 316: "HostComputer", 337: "TargetPrinter", 33432: "Copyright",
    65000: "tag 65000", 65427: "Hamamatsu's Reference",
}  # fmt: skip


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_tags_of_text_in_either_byte_order_and_size(tmp_path, big, order):
    path = tmp_path / "s.tif"
    tags = [(tag, "s", 0, PLANTED, True) for tag in TEXT_TAGS] + [(306, "s", 0, "2019:03:04 05:06:07", True)]
    tags.append((700, "B", 0, f'<iScan UserName="{PLANTED}" UnitNumber="2000515"/>'.encode(), True))
    tags.append((40093, "B", 0, PLANTED.encode("utf-16-le"), True))
    with tifffile.TiffWriter(path, bigtiff=big, byteorder=order) as tiff:
        tiff.write(texture(256, 256), tile=(256, 256), extratags=tags, metadata=None, photometric="rgb")
    assert holders(path) == {*TEXT_TAGS.values(), "XMP: UserName", "XPAuthor"}
    assert {("date", "DateTime"), ("device", "XMP: UnitNumber")} <= found_in(path)


def test_exif_is_followed_once(tmp_path):
    path = tmp_path / "s.tif"
    with tifffile.TiffWriter(path) as tiff:
        tag = (EXIF_STAND_IN, "I", 1, 0, True)  # tifffile does not write Exif's own
        tiff.write(texture(256, 256), tile=(256, 256), extratags=[tag], metadata=None, photometric="rgb")
    data = bytearray(path.read_bytes())
    name = PLANTED.encode() + b"\0"
    data += b"\0" * (len(data) % 2)
    exif = len(data)
    at_name = exif + 2 + 2 * 12 + 4
    data += struct.pack("<HHHII", 2, 42032, 2, len(name), at_name) + struct.pack("<HHII", 34665, 4, 1, exif)
    data += bytes(4) + name
    at = data.index(struct.pack("<HHI", EXIF_STAND_IN, 4, 1))
    struct.pack_into("<HHII", data, at, 34665, 4, 1, exif)
    path.write_bytes(data)
    assert holders(path) == {"CameraOwnerName"}


XMLS = {
    "philips": (
        '<?xml version="1.0"?><DataObject ObjectType="DPUfsImport">'
        f'<Attribute Name="PIM_DP_UFS_BARCODE" Group="0x301D" PMSVR="IString">{PLANTED}</Attribute>'
        f'<Attribute Name="PIIM_DP_SCANNER_OPERATOR_ID">{PLANTED}</Attribute>'
        '<Attribute Name="DICOM_ACQUISITION_DATETIME">20190304</Attribute>'
        '<Attribute Name="PIM_DP_IMAGE_TYPE">LABELIMAGE</Attribute></DataObject>',
        {"ImageDescription: PIM_DP_UFS_BARCODE", "ImageDescription: PIIM_DP_SCANNER_OPERATOR_ID"},
        {("image", "ImageDescription: label"), ("date", "ImageDescription: DICOM_ACQUISITION_DATETIME")},
    ),
    "ome": (
        f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Experimenter ID="E:0" LastName="{PLANTED}"/>'
        f'<Image ID="Image:0" Name="{PLANTED}"><AcquisitionDate>2019-03-04T05:06:07</AcquisitionDate>'
        f"<Description>{PLANTED}</Description></Image><StructuredAnnotations><MapAnnotation><Value>"
        f'<M K="Patient name">{PLANTED}</M></Value></MapAnnotation></StructuredAnnotations></OME>',
        {
            "ImageDescription: LastName",
            "ImageDescription: Image title",
            "ImageDescription: Description",
            "ImageDescription: Patient name",
        },
        {("date", "ImageDescription: AcquisitionDate")},
    ),
    "leica": (
        f'<scn><collection name="c"><barcode>{PLANTED}</barcode><image name="x"><creationDate>2019-03-04</creationDate>'
        "</image></collection></scn>",
        {"ImageDescription: barcode"},
        {("date", "ImageDescription: creationDate")},
    ),
    "free text": (f"slide of {PLANTED}", {"ImageDescription"}, {("text", "ImageDescription")}),
    "lines": (
        f"Operator={PLANTED}\nNoLayers=1\nDate=2019-03-04\n",
        {"ImageDescription: Operator"},
        {("date", "ImageDescription: Date")},
    ),
}


@pytest.mark.parametrize("name", XMLS)
def test_descriptions_of_other_vendors(tmp_path, name):
    text, names, others = XMLS[name]
    path = write_pyramid(tmp_path / "s.tif", texture(512, 512), description=text)
    assert holders(path) == names
    assert others <= found_in(path)


def test_a_damaged_tiff_says_so_and_tells_what_can_be_reached(tmp_path):
    path = write_pyramid(tmp_path / "s.svs", texture(512, 512), description=f"Aperio|User = {PLANTED}")
    path.write_bytes(path.read_bytes()[:-40])
    kinds = {kind for kind, _ in found_in(path)}
    assert "unread" in kinds


def test_hamamatsu_s_two_formats(tmp_path):
    ndpi = write_ndpi(tmp_path / "n.ndpi", texture(512, 512))
    assert found_in(ndpi) == {("image", "macro image")}
    vms = write_vms(tmp_path / "v" / "v.vms", texture(512, 512))
    vms.write_text(vms.read_text() + f"MacroImage=v_macro.jpg\nUserName={PLANTED}\nSlideLabel={PLANTED}\n")
    (vms.parent / "v_macro.jpg").write_bytes(b"\xff\xd8\xff")
    assert holders(vms) == {"VMS: UserName", "VMS: SlideLabel"} and ("image", "macro image") in found_in(vms)


def test_mirax(tmp_path):
    path = write_mirax(tmp_path / "m.mrxs", texture(512, 512))
    assert found_in(path) == set()
    settings = tmp_path / "m" / "Slidedat.ini"
    text = settings.read_text(encoding="utf-8-sig").replace(
        "[HIERARCHICAL]",
        f"SLIDE_NAME = {PLANTED}\nPROJECT_NAME = {PLANTED}\nSLIDE_CREATIONDATETIME = 04/03/2019 05:06:07\n"
        f"[NONHIERLAYER_0_LEVEL_0_SECTION]\nBARCODE_VALUE = {PLANTED}\nBARCODE_TYPE = 1D\n[HIERARCHICAL]\n"
        "NONHIER_0_NAME = Scan data layer\nNONHIER_0_VAL_0 = ScanDataLayer_SlideThumbnail\n"
        "NONHIER_0_VAL_1 = ScanDataLayer_SlideBarcode",
    )
    settings.write_text(text, encoding="utf-8-sig")
    path.write_bytes(b"\xff\xd8\xff\xe0")
    where = "Slidedat.ini: "
    assert holders(path) == {where + "SLIDE_NAME", where + "PROJECT_NAME", where + "BARCODE_VALUE"}
    assert {
        ("image", where + "barcode"),
        ("image", where + "slidethumbnail"),
        ("image", "the .mrxs file is a picture"),
        ("date", where + "SLIDE_CREATIONDATETIME"),
    } <= found_in(path)


def test_czi(tmp_path):
    xml = f"<Metadata><UserName>{PLANTED}</UserName><Barcode>{PLANTED}</Barcode></Metadata>"
    head = bytearray(32 + 512)
    head[:10] = b"ZISRAWFILE"
    metadata_at = len(head)
    metadata = b"ZISRAWMETADATA".ljust(32, b"\0") + struct.pack("<i", len(xml)).ljust(256, b"\0") + xml.encode()
    attached_at = metadata_at + len(metadata)
    entry = bytes(48) + b"Label".ljust(80, b"\0")
    attached = b"ZISRAWATTDIR".ljust(32, b"\0") + struct.pack("<i", 1).ljust(256, b"\0") + entry
    struct.pack_into("<q", head, 32 + 60, metadata_at)
    struct.pack_into("<q", head, 32 + 72, attached_at)
    path = tmp_path / "s.czi"
    path.write_bytes(bytes(head) + metadata + attached)
    assert holders(path) == {"CZI: UserName", "CZI: Barcode"} and ("image", "CZI: label") in found_in(path)
    path.write_bytes(bytes(head))
    assert ("unread", "the metadata of a CZI file") in found_in(path)


def dicom(path, syntax=EXPLICIT, ends=False):
    """An instance with the planted name in its own elements, in items, and in a private element."""
    specimen = element(0x0040, 0x0551, "LO", PLANTED) + sequence(
        0x0040, 0x0610, element(0x0040, 0xA123, "PN", PLANTED), ends
    )
    parts = [
        element(0x0008, 0x0008, "CS", "DERIVED\\PRIMARY\\LABEL\\NONE"),
        element(0x0008, 0x0080, "LO", PLANTED),
        element(0x0009, 0x0010, "LO", "ACME"),
        element(0x0009, 0x1001, "LO", PLANTED),
        element(0x0010, 0x0010, "PN", PLANTED.replace(" ", "^")),
        element(0x0010, 0x0020, "LO", PLANTED),
        element(0x0010, 0x0030, "DA", "19500317"),
        element(0x0020, 0x000E, "UI", "1.2.3"),
        sequence(0x0040, 0x0560, specimen, ends),
        element(0x0048, 0x0010, "CS", "YES"),
        element(0x2200, 0x0005, "LT", PLANTED),
        struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF),
    ]
    head = write_dicom(path, "1.2.3", "1.2.3.4", syntax=syntax).read_bytes()
    meta = head[: head.index(element(0x0008, 0x0060, "CS", "SM"))]
    path.write_bytes(meta + b"".join(parts))
    return path


DICOM_HOLDERS = {
    "InstitutionName", "PatientName", "PatientID", "SpecimenIdentifier", "PersonName", "BarcodeValue",
}  # fmt: skip


@pytest.mark.parametrize("ends", [False, True])
def test_dicom_attributes_and_those_in_items(tmp_path, ends):
    path = dicom(tmp_path / "d.dcm", ends=ends)
    assert holders(path) == DICOM_HOLDERS
    assert {
        ("person", "PatientBirthDate"),
        ("image", "DICOM image of type LABEL"),
        ("image", "SpecimenLabelInImage YES"),
        ("text", "private DICOM attributes of text"),
    } <= found_in(path)
    assert "unread" not in {kind for kind, _ in found_in(path)}


def test_dicom_without_kinds_and_dicom_that_is_not_followed(tmp_path):
    path = write_dicom(tmp_path / "i.dcm", "1.2.3", "1.2.3.4", syntax=IMPLICIT, data=b"")
    specimen = implicit_element(0x0040, 0x0551, PLANTED)
    item = struct.pack("<HHI", 0xFFFE, 0xE000, len(specimen)) + specimen
    more = implicit_element(0x0010, 0x0010, PLANTED) + struct.pack("<HHI", 0x0040, 0x0560, len(item)) + item
    path.write_bytes(path.read_bytes() + more)
    assert holders(path) == {"PatientName", "SpecimenIdentifier"}
    deflated = write_dicom(tmp_path / "z" / "z.dcm", "1.2.3", "1.2.3.4", syntax="1.2.840.10008.1.2.1.99")
    assert ("unread", "all DICOM attributes: stored deflated, which is not read here") in found_in(deflated)
    cut = dicom(tmp_path / "c" / "c.dcm")
    cut.write_bytes(cut.read_bytes()[:330])
    assert "unread" in {kind for kind, _ in found_in(cut)}


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("S12-3456", {"case"}), ("H 2019-00123_A1", {"case"}), ("23H001234", {"case"}), ("PD-19-1234 HE", {"case"}),
        ("H12345", {"case"}), ("1234567", {"case"}), ("170350-12345", {"case"}), ("123-45-6789", {"case"}),
        ("19500317", {"date"}), ("scan 1950-03-17", {"date"}), ("17.03.1950", {"date"}),
        ("Nordmann, Kari", {"person"}), ("Kari_Nordmann", {"person"}), ("Ødegård Åse", {"person"}),
        ("Nordmann_K", {"person"}), ("H26-004711_Nordmann_Kari_19500317", {"case", "person", "date"}),
        ("CMU-1-Small-Region", set()), ("slide", set()), ("HE_1", set()), ("Colon_Tumour", set()), ("S0001", set()),
        ("S0123456789abcdef0123", set()), ("1.2.826.0.1.3680043.10.999.1", set()), ("D0001-B1", set()),
        ("0123456789ABCDEF0123456789ABCDEF", set()),
    ],
)  # fmt: skip
def test_names_that_look_like_numbers_of_cases_days_and_persons(name, kinds):
    assert {one.kind for one in name_findings(name, "file name")} == kinds


def test_folders_from_the_one_given_on_count(tmp_path, capsys):
    path = tmp_path / "Kari_Nordmann" / "H26-004711" / "s.tif"
    path.parent.mkdir(parents=True)
    write_pyramid(path, texture(512, 512))
    wheres = {one.where for one in identifying_in(path, tmp_path)}
    assert wheres == {
        "folder name: looks like a person's name", "folder name: looks like a case's or person's number",
    }  # fmt: skip
    assert {one.where for one in identifying_in(path)} == {"folder name: looks like a case's or person's number"}
    code, text = printed(capsys, tmp_path)
    assert code == 1 and "looks like a person's name" in text


def test_words_for_nothing_are_no_findings():
    for value in ("", "  ", "unknown", "N/A", "Anonymous", "ANON001", "removed", "XXXX", "---", "0"):
        assert not says_something("person", value), value
    assert not says_something("date", "1900-01-01T00:00:00Z") and says_something("date", "1950-03-17")
    assert not says_something("person", "b414003d-95c6-48b0-9369-8010ed517ba7")
    assert says_something("person", PLANTED)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("PatientName", "person"), ("patient_id", "case"), ("UserName", "person"), ("Barcode", "case"),
        ("ExposureTime", ""), ("Exposure Time", ""), ("AcquisitionDate", "date"), ("UpdatePending", ""),
        ("schemaLocation", ""), ("InstitutionName", "place"), ("Comment", "text"), ("PhysicalSizeX", ""),
        ("BARCODE_TYPE", ""), ("Sampling", ""), ("SamplesPerPixel", ""), ("AppMag", ""), ("Serial Number", "device"),
    ],
)  # fmt: skip
def test_kinds_of_fields_by_their_names(name, kind):
    assert kind_of(name) == kind and (not kind or kind in KINDS)


def test_text_without_end_and_hostile_text_end(tmp_path):
    path = tmp_path / "s.tif"
    hostile = "<" + "a" * 100 + " x='" * 200_000 + "\n" * 200_000 + "=" * 200_000
    with tifffile.TiffWriter(path) as tiff:
        tag = (65000, "s", 0, "\x1b[2J\n" * 100_000, True)
        tiff.write(
            texture(256, 256), tile=(256, 256), extratags=[tag], metadata=None, photometric="rgb", description=hostile
        )
    assert ("text", "tag 65000") in found_in(path)


def test_damaged_files_of_every_kind_end_in_findings_or_in_one_sentence(tmp_path):
    """Bytes changed and cut at random, mostly where heads and tags lie."""
    random = np.random.default_rng(16)
    whole = [
        write_pyramid(tmp_path / "a.svs", texture(256, 256), description=f"Aperio|User = {PLANTED}"),
        write_ndpi(tmp_path / "n.ndpi", texture(256, 256)),
        dicom(tmp_path / "d.dcm"),
        dicom(tmp_path / "e.dcm", ends=True),
    ]
    for number in range(200):
        source = whole[number % len(whole)]
        data = bytearray(source.read_bytes())
        for _ in range(random.integers(1, 12)):
            near = random.integers(0, min(len(data), 2000))
            data[int(near if random.random() < 0.5 else len(data) - 1 - near)] = random.integers(256)
        if random.random() < 0.2:
            del data[int(random.integers(1, len(data))) :]
        path = tmp_path / f"damaged{source.suffix}"
        path.write_bytes(data)
        found = identifying_in(path)  # any error is a defect: all these files can be read
        assert all(finding.kind in KINDS and finding.where for finding in found)


def test_no_value_reaches_a_terminal_as_it_is(tmp_path, capsys):
    path = write_pyramid(
        tmp_path / "s.svs", texture(512, 512), description="Aperio|User = \x1b[2J evil|Title\x1b = x y"
    )
    _, text = printed(capsys, path, "show=true")
    assert "\x1b" not in text and "evil" in text


def test_slides_of_the_shared_data(capsys):
    folder = shared_data("wsi")
    code, text = printed(capsys, folder, "--json")
    found = {record["path"].rsplit("/", 1)[-1]: record["findings"] for record in json.loads(text)}
    assert code == 1
    svs = {(one["kind"], one["where"]) for one in found["aperio_CMU-1-Small-Region.svs"]}
    assert {("image", "label image"), ("image", "macro image"), ("case", "ImageDescription: Filename")} <= svs
    dicom_fields = {one["where"] for one in found["dicom_highdicom_sm_image.dcm"]}
    assert {"PatientName", "PatientID", "PatientBirthDate", "SpecimenIdentifier", "AccessionNumber"} <= dicom_fields
    assert found["openslide_boxes.tiff"] == []
    assert "Test^Patient" not in text
