"""Figures for people. Nothing is imported here: the Snakefile reads `names` when it is parsed."""
