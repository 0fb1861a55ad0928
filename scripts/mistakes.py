"""Rule audit_of_mistakes: what each mistake does to the metrics and to the map."""

from ehr_attack.runtime import job

with job(snakemake):
    from ehr_attack.summaries.mistakes import write_mistakes_table

    files, params = snakemake.input, snakemake.params
    write_mistakes_table(
        **{name: list(files[name]) for name in ("metrics", "summaries", "variables", "hours")},
        mistakes=params.mistakes,
        **params.variables,
        out=snakemake.output[0],
    )
