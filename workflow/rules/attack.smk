"""Attack the held-out stays of each fold (GPU), shard by shard, and merge the shards.

INPUT   R/features/features.parquet, R/extract/stays.parquet, R/folds/folds.parquet, a fold's checkpoint;
        R/extract/measurements.parquet for modes that change recorded values; for a baseline the merged tables of the
        attack that it is matched to
OUTPUT  R/attacks/<model>/<mode>/seed_<s>/fold_<k>/shards/<i>/: outcomes, perturbations and changes .parquet
        and, merged beside shards/: outcomes.parquet (one row a stay and lambda; `selected` marks a stay's best),
        perturbations.parquet (one row a changed cell), changes.parquet (one row a changed recorded value)
"""


rule attack:
    input:
        unpack(attack_inputs),
        weights=f"{FOLD_DIR}/model.safetensors",
        sidecar=f"{FOLD_DIR}/model.json",
    output:
        outcomes=f"{ATTACK_DIR}/shards/{{shard}}/outcomes.parquet",
        perturbations=f"{ATTACK_DIR}/shards/{{shard}}/perturbations.parquet",
        changes=f"{ATTACK_DIR}/shards/{{shard}}/changes.parquet",
    log:
        f"{R}/logs/attack_{{model}}_{{mode}}_seed_{{seed}}_fold_{{fold}}_shard_{{shard}}.log",
    benchmark:
        f"{R}/benchmarks/attack_{{model}}_{{mode}}_seed_{{seed}}_fold_{{fold}}_shard_{{shard}}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        gpu=1,
        mem_mb=growing(4000),
        runtime=240,
    params:
        variables=VARIABLES,
        window_hours=WINDOW_HOURS,
        model=lambda wildcards: ARCHITECTURES[wildcards.model],
        mode=lambda wildcards: MODE_NAMES[wildcards.mode],
        attack=lambda wildcards: attacks.settings_of(wildcards.mode, C["attack"]),
        code=lambda wildcards: code(
            "attack.py",
            modules=[models.module_of(ARCHITECTURES[wildcards.model]), attacks.module_of(MODE_NAMES[wildcards.mode])],
        ),
    message:
        "Looking for small changes that flip {wildcards.model} (attack {wildcards.mode}, seed {wildcards.seed}, "
        "fold {wildcards.fold}, shard {wildcards.shard})"
    script:
        "../../scripts/attack.py"


rule merge_attack:
    input:
        outcomes=expand(f"{ATTACK_DIR}/shards/{{shard}}/outcomes.parquet", shard=SHARDS, allow_missing=True),
        perturbations=expand(f"{ATTACK_DIR}/shards/{{shard}}/perturbations.parquet", shard=SHARDS, allow_missing=True),
        changes=expand(f"{ATTACK_DIR}/shards/{{shard}}/changes.parquet", shard=SHARDS, allow_missing=True),
    output:
        outcomes=f"{ATTACK_DIR}/outcomes.parquet",
        perturbations=f"{ATTACK_DIR}/perturbations.parquet",
        changes=f"{ATTACK_DIR}/changes.parquet",
    log:
        f"{R}/logs/merge_{{model}}_{{mode}}_seed_{{seed}}_fold_{{fold}}.log",
    benchmark:
        f"{R}/benchmarks/merge_{{model}}_{{mode}}_seed_{{seed}}_fold_{{fold}}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=30,
    params:
        variables=VARIABLES,
        window_hours=WINDOW_HOURS,
        weight=C["susceptibility"]["weight"],
        code=code("merge_attack.py"),
    message:
        "Putting together the attacks of {wildcards.mode} on {wildcards.model}, seed {wildcards.seed}, fold {wildcards.fold}"
    script:
        "../../scripts/merge_attack.py"
