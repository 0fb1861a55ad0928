-- One row is one patient. Runs on DuckDB and on PostgreSQL.
SELECT
    CAST(subject_id AS bigint) AS subject_id,
    CAST(gender AS varchar) AS sex,
    CAST(dob AS timestamp) AS dob
FROM patients
