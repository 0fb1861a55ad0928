-- One row is one ICU stay. Runs on DuckDB and on PostgreSQL.
SELECT
    CAST(icustay_id AS bigint) AS stay_id,
    CAST(hadm_id AS bigint) AS hadm_id,
    CAST(subject_id AS bigint) AS subject_id,
    first_careunit AS care_unit,
    intime,
    outtime
FROM icustays
