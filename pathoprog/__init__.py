"""pathoprog: prognosis from digital pathology. Research use only.

Slides in, per patient *good*, *uncertain* or *poor* prognosis out, with survival validation. Importing the package
imports nothing heavy; every subpackage is imported by its own name.
"""

__version__ = "0.1.0"

RESEARCH_USE_ONLY = "For research use only. Not for diagnosis or treatment decisions."
