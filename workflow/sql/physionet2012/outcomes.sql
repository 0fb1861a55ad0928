-- One row is the outcome of one record. A length of stay of -1 is unknown.
SELECT
    recordid AS stay_id,
    '{source_set}' AS source_set,
    nullif(length_of_stay, -1) AS hospital_days,
    CASE "in-hospital_death" WHEN 0 THEN false WHEN 1 THEN true END AS died_in_hospital
FROM outcomes
