"""What reporting guidelines ask of a study and no program can know: the authors state it in a file of their own."""

from pathlib import Path

from pathoprog.errors import InputError

STUDY_FACTS = {
    "context": "clinical context, and why a prognosis is wanted",
    "target_population": "who the result is meant for, and who would use it",
    "inequalities": "known differences in health or care between groups of such patients",
    "hypotheses": "hypotheses stated beforehand",
    "source": "where the data come from: trial, registry, hospital series",
    "setting": "centres: how many, where, of what kind",
    "inclusion": "inclusion and exclusion criteria of the study",
    "inclusion_dates": "first and last date of inclusion, end of follow-up",
    "treatments": "treatments received, and how patients came to them",
    "specimens": "specimens: which block, fixation, storage",
    "outcome_assessment": "how the outcome was found out, and by whom",
    "outcome_blinding": "whether they knew the score or the class",
    "covariate_assessment": "who assessed stage and other covariates, and with what training",
    "sample_size": "why so many patients",
    "class_imbalance": "what was done about unequal classes in training, if anything",
    "fairness": "how fairness was judged, between which groups, and why those",
    "plan_written": "date of the analysis plan",
    "protocol": "where the protocol can be read",
    "registration": "register and number of the study",
    "ethics": "ethical approval, and consent",
    "funding": "who paid, and their part in the study",
    "conflicts": "conflicts of interest of the authors",
    "data_sharing": "whether and how the data can be had",
    "code_sharing": "whether and how the code and the locked ensemble can be had",
    "public_involvement": "patients and public: their part in the study",
    "interpretation": "what the results mean beside earlier studies",
    "further_limits": "limits that the authors see, beyond those that the report states",
    "users": "what users must know and be able to do",
    "next_steps": "what must be shown before clinical use",
}
"""Keys of the study file, and what each asks for."""


def read_study_facts(path: str | Path) -> dict[str, str]:
    """Read a study file: YAML, each key one of `STUDY_FACTS`, each value a text; keys may be absent or empty.

    Returns:
        The facts that are stated, as one line each; those that are not have no key.

    Raises:
        InputError: no such file, no YAML mapping, an unknown key or a value that is no text.
    """
    import yaml

    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; a study file states what only the authors know (docs/validation.md)")
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: no YAML in UTF-8 ({' '.join(str(error).split())})") from error
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InputError(f"{path}: must be a mapping, such as 'funding: none'")
    unknown = sorted(str(key) for key in value if key not in STUDY_FACTS)
    if unknown:
        raise InputError(f"{path}: does not know {', '.join(unknown)}; its keys are {', '.join(STUDY_FACTS)}")
    facts = {}
    for key in STUDY_FACTS:
        said = value.get(key)
        if isinstance(said, dict | list | bool):
            raise InputError(f"{path}: {key} must be a text, not {said!r}; put it into quotes")
        text = "" if said is None else " ".join(str(said).split())
        if text:
            facts[key] = text
    return facts
