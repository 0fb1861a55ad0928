-- One row is one patient. Runs on DuckDB and on PostgreSQL.
SELECT
    CAST(subject_id AS bigint) AS subject_id,
    gender AS sex,
    dob
FROM patients
