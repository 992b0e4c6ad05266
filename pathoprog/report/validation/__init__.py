"""The sections of a validation report, each from findings to text, tables and figures."""
