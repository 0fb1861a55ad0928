-- One row is one ICU stay of the source, with its patient and admission, before any rule of the cohort.
-- Age is in calendar years: birthdays had, plus the share of the current year of life. Ages over 89 are hidden in
-- MIMIC-III (born 300 years before the first admission) and become 91.4, the median age of that group.
-- The stay ends when the patient leaves the unit or dies.
SELECT
    icustays.stay_id,
    icustays.subject_id,
    icustays.hadm_id,
    icustays.intime,
    icustays.outtime,
    icustays.care_unit,
    admissions.organ_donor,
    admissions.died_in_hospital,
    patients.sex,
    date_sub('year', patients.dob, icustays.intime) AS birthdays,
    patients.dob + to_years(birthdays) AS last_birthday,
    patients.dob + to_years(birthdays + 1) AS next_birthday,
    birthdays
        + hours_between(last_birthday, icustays.intime) / hours_between(last_birthday, next_birthday) AS exact_age,
    CASE WHEN exact_age > 89 THEN 91.4 ELSE exact_age END AS age_years,
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
