"""Clinical tables as TCGA's and cBioPortal's portals and a hospital give them: their true columns, made-up patients."""

import datetime
from pathlib import Path

N = 24
BARCODES = [f"TCGA-AA-{3000 + k}" for k in range(N)]
DEAD = [k % 4 == 0 for k in range(N)]  # 6
OF_CANCER = [k % 8 == 0 for k in range(N)]  # 3 of them
RECURRED = [k % 5 == 0 for k in range(N)]
DAYS = [900 + 20 * k for k in range(N)]


def _lines(path: Path, rows: list[list[str]], separator: str = "\t") -> Path:
    path.write_text("\n".join(separator.join(row) for row in rows) + "\n", encoding="utf-8")
    return path


def _months(k: int) -> str:
    return f"{DAYS[k] / 30.4375:.2f}"


def tcga_cdr(folder: Path) -> Path:
    """The columns of TCGA-CDR that matter here, with one redacted patient and one death of unknown cause."""
    head = (
        "bcr_patient_barcode type age_at_initial_pathologic_diagnosis gender ajcc_pathologic_tumor_stage vital_status"
    )
    rows = [[*head.split(), "OS", "OS.time", "DSS", "DSS.time", "DFI", "DFI.time", "PFI", "PFI.time", "Redaction"]]
    for k, barcode in enumerate(BARCODES):
        sex, stage = ("MALE", "FEMALE")[k % 2], ("Stage IIA", "Stage III", "[Discrepancy]")[2 if k == 7 else k % 2]
        dss = "" if k == 4 else str(int(OF_CANCER[k]))
        own = [barcode, "COAD", f"{50 + k}.0", sex, stage, "Dead" if DEAD[k] else "Alive", f"{int(DEAD[k])}.0"]
        free = ["", ""] if k % 3 == 0 else [str(int(RECURRED[k])), str(DAYS[k] - 200)]  # never free of disease: empty
        rows.append([*own, str(DAYS[k]), dss, str(DAYS[k]), *free, str(int(RECURRED[k])), str(DAYS[k] - 300)])
        rows[-1].append("Redacted" if k == 23 else "")
    return _lines(folder / "TCGA-CDR.csv", rows, ",")


def gdc_clinical(folder: Path) -> Path:
    """GDC's clinical.tsv: two rows a patient, one a treatment."""
    head = (
        "cases.case_id cases.submitter_id project.project_id demographic.days_to_birth demographic.days_to_death"
        " demographic.gender demographic.vital_status diagnoses.age_at_diagnosis diagnoses.ajcc_pathologic_m"
        " diagnoses.ajcc_pathologic_n diagnoses.ajcc_pathologic_stage diagnoses.ajcc_pathologic_t"
        " diagnoses.days_to_last_follow_up treatments.treatment_type"
    )
    rows = [head.split()]
    for k, barcode in enumerate(BARCODES):
        death, last = (str(DAYS[k]), "'--") if DEAD[k] else ("'--", str(DAYS[k]))
        own = [f"uuid-{k}", barcode, "TCGA-COAD", f"-{20000 + 50 * k}", death, ("male", "female")[k % 2]]
        own += ["Dead" if DEAD[k] else "Alive", str(20000 + 50 * k), "M0", f"N{k % 3}", "Stage IIA", "T3", last]
        rows += [[*own, treatment] for treatment in ("Pharmaceutical Therapy, NOS", "Radiation Therapy, NOS")]
    return _lines(folder / "clinical.tsv", rows)


def cbioportal_patient(folder: Path) -> Path:
    """A portal's data_clinical_patient.txt: four lines of comments above the header."""
    names = [
        "PATIENT_ID", "SUBTYPE", "AGE", "SEX", "AJCC_PATHOLOGIC_TUMOR_STAGE", "PATH_T_STAGE",
        "PATH_N_STAGE", "PATH_M_STAGE", "HISTORY_NEOADJUVANT_TRTYN", "OS_STATUS", "OS_MONTHS",
        "DSS_STATUS", "DSS_MONTHS", "DFS_STATUS", "DFS_MONTHS", "PFS_STATUS", "PFS_MONTHS"
    ]  # fmt: skip
    rows = [[f"#{names[0].title()}", *map(str.title, names[1:])], ["#about the patient", *names[1:]]]
    rows += [["#STRING", *["STRING"] * (len(names) - 1)], ["#1", *["1"] * (len(names) - 1)], names]
    for k, barcode in enumerate(BARCODES):
        own = [barcode, "COAD_CIN", str(50 + k), ("Male", "Female")[k % 2], "STAGE IIA", "T3", f"N{k % 3}", "M0"]
        own += ["Yes" if k == 3 else "No", "1:DECEASED" if DEAD[k] else "0:LIVING", _months(k)]
        own += ["1:DEAD WITH TUMOR" if OF_CANCER[k] else "0:ALIVE OR DEAD TUMOR FREE", _months(k)]
        own += ["1:Recurred/Progressed" if RECURRED[k] else "0:DiseaseFree", f"{8 + k:.2f}"]
        rows.append([*own, "1:PROGRESSION" if RECURRED[k] else "0:CENSORED", f"{8 + k:.2f}"])
    return _lines(folder / "data_clinical_patient.txt", rows)


def cbioportal_website(folder: Path) -> Path:
    """What cBioPortal's website lets one download."""
    head = [
        *("Study ID", "Patient ID", "Sample ID", "Diagnosis Age"),
        "Neoplasm Disease Stage American Joint Committee on Cancer Code",
        *("Disease Free (Months)", "Disease Free Status", "Months of disease-specific survival"),
        *("Disease-specific Survival status", "American Joint Committee on Cancer Tumor Stage Code"),
        *("Overall Survival (Months)", "Overall Survival Status", "Progress Free Survival (Months)"),
        *("Progression Free Status", "Sex"),
    ]
    rows = [head]
    for k, barcode in enumerate(BARCODES):
        own = ["coadread_tcga_pan_can_atlas_2018", barcode, f"{barcode}-01", str(50 + k), "STAGE IIA", f"{8 + k:.2f}"]
        own += ["1:Recurred/Progressed" if RECURRED[k] else "0:DiseaseFree", _months(k)]
        own += ["1:DEAD WITH TUMOR" if OF_CANCER[k] else "0:ALIVE OR DEAD TUMOR FREE", "T3", _months(k)]
        own += ["1:DECEASED" if DEAD[k] else "0:LIVING", f"{8 + k:.2f}"]
        rows.append([*own, "1:PROGRESSION" if RECURRED[k] else "0:CENSORED", ("Male", "Female")[k % 2]])
    return _lines(folder / "coadread_clinical_data.tsv", rows)


def hospital(folder: Path) -> Path:
    """A Norwegian hospital's: semicolons, decimal commas, dates with points, causes of death, a split."""
    head = [
        "PasientNr", "Snitt", "Kjønn", "Alder", "Operasjonsdato", "Siste kontakt", "Dødsdato", "Status",
        "Dødsårsak", "pT", "pN", "Set"
    ]  # fmt: skip
    rows = [head]
    for k in range(N):
        operated = datetime.date(2015, 3, 1 + k)
        end = (operated + datetime.timedelta(days=DAYS[k])).strftime("%d.%m.%Y")
        cause = "tykktarmskreft" if OF_CANCER[k] else "hjerte" if DEAD[k] else ""
        own = [str(100 + k), f"S{k}.svs", "KM"[k % 2], f"{55 + k},5", operated.strftime("%d.%m.%Y")]
        own += ["" if DEAD[k] else end, end if DEAD[k] else "", "død" if DEAD[k] else "levende", cause]
        rows.append([*own, str(3 + k % 2), str(k % 2), "train" if k < 12 else "val"])
    return _lines(folder / "pasienter.csv", rows, ";")
