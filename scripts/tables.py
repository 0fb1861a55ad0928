"""Rule tables: the tables for people."""

from pathlib import Path

from ehr_attack.runtime import job

with job(snakemake):
    from ehr_attack.summaries.agreement import write_agreement_tables
    from ehr_attack.summaries.attacks import write_attack_tables
    from ehr_attack.summaries.audit import write_audit_tables
    from ehr_attack.summaries.cohort import write_cohort_tables
    from ehr_attack.summaries.models import write_model_tables
    from ehr_attack.summaries.protocol import write_protocol_table
    from ehr_attack.summaries.susceptibility import write_susceptibility_tables

    files, chosen, out_dir = snakemake.input, snakemake.params.variables, Path(snakemake.output[0]).parent
    write_cohort_tables(stays=files.stays, features=files.features, flow=files.flow, **chosen, out_dir=out_dir)
    write_audit_tables(codes=files.codes, integrity=files.integrity, out_dir=out_dir)
    model_files = {name: files[name] for name in ("metrics", "decisions", "subgroups")}
    write_model_tables(**model_files, flow=files.flow, out_dir=out_dir)
    write_protocol_table(config=snakemake.params.protocol, out_dir=out_dir)
    write_attack_tables(
        summaries=files.summaries,
        variables=files.variables,
        hours=files.hours,
        **chosen,
        out_dir=out_dir,
    )
    agreement = {name: files[name] for name in ("verdicts", "stability", "transfer")}
    write_agreement_tables(**agreement, out_dir=out_dir)
    for place, (model, mode) in enumerate(snakemake.params.maps):
        maps = {name: files[name][place] for name in ("cells", "variables", "hours", "tradeoff")}
        write_susceptibility_tables(model=model, mode=mode, **maps, **chosen, out_dir=out_dir)
