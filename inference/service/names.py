"""The ids that slides and patients have in the service: as given, or pseudonyms whose map is a file of its own."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pathoprog.inference.service.config import RouteSettings
from pathoprog.inference.service.intake.path_names import PathNames
from pathoprog.inference.service.intake.patients import PatientOf, PatientReader, Refused, Waits
from pathoprog.inference.service.intake.pseudonym_map import PseudonymMap
from pathoprog.inference.service.work.desk import ConflictError
from pathoprog.inference.slides.pseudonyms import pseudonym, read_key
from pathoprog.slides.identity import slide_id_of


@dataclass(frozen=True)
class Named:
    """A slide's id and its patient's, and what a table says of its eligibility."""

    slide_id: str
    patient_id: str
    traits: Mapping[str, str] = field(default_factory=dict)


class Names:
    """Gives ids by each route's rule, and keeps the map of the pseudonyms, which all routes share.

    Args:
        routes: of the settings.
        key_file: of the pseudonyms; made if it is not there.
        map_file: pseudonym, kind, id and path; `pseudonyms` is open on it.

    Raises:
        ConfigError: a table, a pattern, the key or the map cannot be used.
    """

    def __init__(self, routes: list[RouteSettings], key_file: Path, map_file: Path):
        self._key = read_key(key_file)
        self.pseudonyms = PseudonymMap(map_file)
        self.paths = PathNames(routes, self._key, self.pseudonyms)
        self._readers = {route.name: PatientReader(route.patients, key_file, self.pseudonyms) for route in routes}

    def of_watched(self, route: RouteSettings, path: str) -> Named | Waits | Refused:
        """The ids of a slide that has come into a watched folder.

        Raises:
            ConfigError: the map of pseudonyms cannot be written.
        """
        found = self._readers[route.name].of(path)
        return Named(found.slide_id, found.patient_id, found.traits) if isinstance(found, PatientOf) else found

    def of_submitted(self, route: RouteSettings, path: str, patient: str) -> Named:
        """The ids of a slide that a client submits.

        Args:
            route: the route.
            path: of the slide.
            patient: the id that the client gives; empty: by the route's rule.

        Raises:
            ConflictError: the route's rule does not know the slide's patient.
            ConfigError: the map of pseudonyms cannot be written.
        """
        if not patient:
            found = self.of_watched(route, path)
            if isinstance(found, Named):
                return found
            raise ConflictError(f"whose slide it is cannot be told: {found.reason}")
        slide_id, patient_id = self.plain(route, path), patient
        if route.patients.ids == "pseudonym":
            patient_id = pseudonym(self._key, "patient", patient)
            given = slide_id_of(Path(path).name)
            self.pseudonyms.add([(slide_id, "slide", given, path), (patient_id, "patient", patient, "")])
        return Named(slide_id, patient_id)

    def plain(self, route: RouteSettings, path: str) -> str:
        """The id of a slide by its file name alone, whatever is known of its patient."""
        given = slide_id_of(Path(path).name)
        return given if route.patients.ids == "given" else pseudonym(self._key, "slide", given)

    def of_refused(self, route: RouteSettings, path: str) -> str:
        """The same of a file that cannot be taken; the map then says which it is.

        Raises:
            ConfigError: the map of pseudonyms cannot be written.
        """
        if route.patients.ids == "pseudonym":
            self.pseudonyms.add([self.paths.slide_row(path)])
        return self.plain(route, path)

    def of_patient(self, given: str) -> list[str]:
        """The ids by which a patient may be known here: as given, and its pseudonym."""
        return [given, pseudonym(self._key, "patient", given), pseudonym(self._key, "slide", given)]

    def of_case(self, case: str) -> tuple[list[str], list[str]]:
        """Slide and patient ids in the map that stand for a case number: the id itself, or what begins with it."""
        slides: list[str] = []
        patients: list[str] = []
        for name, kind, given, _ in self.pseudonyms.rows.values():
            if given == case or given.startswith((f"{case}-", f"{case} ", f"{case}_")):
                {"slide": slides, "patient": patients}.get(kind, []).append(name)
        return sorted(slides), sorted(patients)
