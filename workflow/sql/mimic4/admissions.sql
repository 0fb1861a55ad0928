-- One row is one hospital admission. Runs on DuckDB and on PostgreSQL.
SELECT
    CAST(hadm_id AS bigint) AS hadm_id,
    CAST(subject_id AS bigint) AS subject_id,
    CAST(admittime AS timestamp) AS admittime,
    CAST(dischtime AS timestamp) AS dischtime,
    CAST(deathtime AS timestamp) AS deathtime,
    CASE hospital_expire_flag WHEN 0 THEN false WHEN 1 THEN true END AS died_in_hospital
FROM admissions
