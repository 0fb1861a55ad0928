"""The results of a run as a page of text that can be kept with the code: aggregates only, every number from its tables."""
