"""What an author takes from a validation into a manuscript: checklists, paragraphs, abbreviations, Word tables."""
