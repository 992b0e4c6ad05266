"""Made-up slides and patients with a known truth: what the pipeline can be tried on, and must fail on."""
