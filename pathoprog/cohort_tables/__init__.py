"""cohort.csv and outcomes.csv, clinical sheets, the endpoint. No torch."""
