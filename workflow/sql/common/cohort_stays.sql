-- One row is one ICU stay of the cohort, as the canonical table of stays has it.
SELECT
    stay_id,
    subject_id,
    hadm_id,
    intime,
    outtime,
    CAST(age_years AS double) AS age_years,
    sex,
    care_unit,
    icu_hours / 24 AS los_icu_days,
    hospital_hours / 24 AS los_hospital_days,
    died_in_hospital,
    $source AS source,
    source_set,
    hours_observable
FROM reviewed
WHERE excluded_by IS NULL
ORDER BY stay_id
