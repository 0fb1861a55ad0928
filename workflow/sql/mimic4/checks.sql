-- One row is one thing that must not be in the source: how often it is, and what to tell the user.
-- A key that stands twice in a table would silently count stays, and their measurements, twice.
SELECT
    count(*) - count(DISTINCT stay_id) AS cases,
    'ICU stays are repeated or have no id. Expected stay_id once in icustays, hadm_id once in admissions and '
    || 'subject_id once in patients; a table was probably joined twice. Download it again.' AS message
FROM candidates
