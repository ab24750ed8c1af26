"""Data that an operator or an authority supplies in files: catalogue packs, lineage, screening lists - with guards."""
