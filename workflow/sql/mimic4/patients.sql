-- One row is one patient: anchor_age is the age in the year anchor_year, 91 for everybody who was over 89 then.
-- Runs on DuckDB and on PostgreSQL.
SELECT
    CAST(subject_id AS bigint) AS subject_id,
    CAST(gender AS varchar) AS sex,
    CAST(anchor_age AS bigint) AS anchor_age,
    CAST(anchor_year AS bigint) AS anchor_year
FROM patients
