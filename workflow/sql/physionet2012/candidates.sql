-- One row is one record of the challenge with its outcome, before any rule of the cohort. Every record is another
-- patient's, begins at ICU admission and lasts 48 hours: the challenge took only stays of at least that length, and
-- gives no dates. Descriptors of -1 are unknown; ages of 90 and over stand as 90.
WITH descriptors AS (
    SELECT
        stay_id,
        max(value) FILTER (WHERE parameter = 'Age') AS age,
        max(value) FILTER (WHERE parameter = 'Gender') AS gender,
        max(value) FILTER (WHERE parameter = 'ICUType') AS icu_type
    FROM records
    GROUP BY stay_id
)

SELECT
    outcomes.stay_id,
    outcomes.stay_id AS subject_id,
    CAST(NULL AS bigint) AS hadm_id,
    CAST(NULL AS timestamp) AS intime,
    CAST(NULL AS timestamp) AS outtime,
    CASE WHEN descriptors.age >= 0 THEN descriptors.age END AS age_years,
    CASE descriptors.gender WHEN 0 THEN 'F' WHEN 1 THEN 'M' END AS sex,
    CASE descriptors.icu_type WHEN 1 THEN 'CCU' WHEN 2 THEN 'CSRU' WHEN 3 THEN 'MICU' WHEN 4 THEN 'SICU' END
        AS care_unit,
    false AS organ_donor,
    outcomes.died_in_hospital,
    false AS times_unusable,
    CAST(NULL AS double) AS icu_hours,
    CAST(outcomes.hospital_days AS double) * 24 AS hospital_hours,
    48.0 AS hours_to_end,
    outcomes.source_set
FROM outcomes
LEFT JOIN descriptors USING (stay_id)
