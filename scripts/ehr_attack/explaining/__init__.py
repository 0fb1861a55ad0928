"""Why results are stale, in words: what a dry run of Snakemake gives as its reasons, read and put together."""
