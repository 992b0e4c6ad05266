"""The sections that a report has where its plan asks for them."""
