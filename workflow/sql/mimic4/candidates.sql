-- One row is one ICU stay of the source, with its patient and admission, before any rule of the cohort.
-- Age is the patient's age in the anchor year plus the calendar years from it to the ICU admission: whole years, up
-- to one year off. Ages over 89 are hidden in MIMIC-IV (anchor_age 91) and stay at 91, however the years are counted.
-- MIMIC-IV gives no diagnosis on admission, by which MIMIC-III tells organ donors: none is known to be one here, and
-- only those admitted after their death are excluded, by the order of their times.
-- The stay ends when the patient leaves the unit or dies.
SELECT
    icustays.stay_id,
    icustays.subject_id,
    icustays.hadm_id,
    icustays.intime,
    icustays.outtime,
    icustays.care_unit,
    false AS organ_donor,
    admissions.died_in_hospital,
    patients.sex,
    patients.anchor_age + (year(icustays.intime) - patients.anchor_year) AS counted_age,
    CASE WHEN patients.anchor_age > 89 OR counted_age > 89 THEN 91 ELSE counted_age END AS age_years,
    coalesce(
        admissions.dischtime < admissions.admittime OR admissions.deathtime < admissions.admittime
        OR icustays.outtime <= icustays.intime OR admissions.deathtime <= icustays.intime,
        false
    )
    OR icustays.intime IS NULL OR icustays.outtime IS NULL
    OR admissions.admittime IS NULL OR admissions.dischtime IS NULL AS times_unusable,
    hours_between(icustays.intime, icustays.outtime) AS icu_hours,
    hours_between(admissions.admittime, admissions.dischtime) AS hospital_hours,
    hours_between(
        icustays.intime, least(icustays.outtime, coalesce(admissions.deathtime, icustays.outtime))
    ) AS hours_to_end,
    CAST(NULL AS varchar) AS source_set
FROM icustays
LEFT JOIN admissions USING (hadm_id, subject_id)
LEFT JOIN patients USING (subject_id)
