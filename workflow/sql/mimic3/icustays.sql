-- One row is one ICU stay. Runs on DuckDB and on PostgreSQL.
SELECT
    CAST(icustay_id AS bigint) AS stay_id,
    CAST(hadm_id AS bigint) AS hadm_id,
    CAST(subject_id AS bigint) AS subject_id,
    CAST(first_careunit AS varchar) AS care_unit,
    CAST(intime AS timestamp) AS intime,
    CAST(outtime AS timestamp) AS outtime
FROM icustays
