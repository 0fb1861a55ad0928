-- One row is the outcome of one record. A length of stay of -1 is unknown.
SELECT
    recordid AS stay_id,
    '{source_set}' AS source_set,
    nullif(length_of_stay, -1) AS hospital_days,
    "in-hospital_death" = 1 AS died_in_hospital
FROM outcomes
