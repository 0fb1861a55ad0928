"""The results of a run as a page of text to keep with the code: aggregates only, every number from its tables."""
