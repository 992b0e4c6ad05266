"""A small clinical sheet and its mapping file."""

from pathlib import Path

MAPPING = """\
time_zero: day of surgery
missing: [unknown]
columns:
  patient_id: Pat
  slide_id: Slide
  slide_path: {template: "slides/{Slide}.svs"}
  cohort: {value: north}
  role: {column: Set, codes: {dev: development, val: external}}
  age: {column: Months, unit: months, to_unit: years}
  sex: {column: Sex, codes: {M: male, F: female}}
followup: {column: Days, unit: days}
event:
  - {when: {Censored: ["1"]}, is: none}
  - {when: {Censored: ["0"], Cause: [crc]}, is: event}
  - {when: {Censored: ["0"]}, is: competing}
exclude:
  - {code: neoadjuvant treatment, when: {Neo: ["yes"]}}
  - {code: under 18, when: {Months: {below: 216}}}
contradictions:
  - {reason: dead and yet censored, when: {Dead: ["1"], Censored: ["1"]}}
"""
HEADER = "Pat,Slide,Set,Months,Sex,Days,Censored,Cause,Neo,Dead"
GOOD = ["A,a1,dev,720,M,3000,1,,no,0", "B,b1,dev,800,F,400,0,crc,no,1", "C,c1,val,700,F,500,0,heart,no,1"]


def write_mapping(folder: Path, text: str = MAPPING) -> Path:
    """Write a mapping file."""
    path = folder / "mapping.yaml"
    path.write_text(text)
    return path
