"""Where records come from: finding a source's tables and reading its files.

Importing this package is cheap (standard library only), because Snakemake does so while it reads the rules.
"""

from ehr_attack.sources.folder import find_tables

__all__ = ["find_tables"]
