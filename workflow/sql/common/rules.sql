-- One row is one ICU stay of the source, with the first rule of the cohort that excludes it (null: none does).
-- The order of the rules is that of the cohort flow. The stay ends when the patient leaves the unit or dies.
WITH timed AS (
    SELECT *, least(outtime, coalesce(deathtime, outtime)) AS end_time
    FROM candidates
),

ruled AS (
    SELECT
        *,
        hours_between(intime, end_time) AS hours_to_end,
        CASE
            WHEN age_years IS NULL OR age_years < $min_age_years
                THEN 'age'
            WHEN
                intime IS NULL OR outtime IS NULL OR admittime IS NULL OR dischtime IS NULL
                OR died_in_hospital IS NULL
                OR dischtime < admittime OR deathtime < admittime OR outtime <= intime OR deathtime <= intime
                THEN 'time_order'
            WHEN organ_donor
                THEN 'organ_donor'
            WHEN hours_between(intime, outtime) < $min_icu_hours
                THEN 'icu_hours'
            WHEN hours_between(admittime, dischtime) < $min_hospital_hours
                THEN 'hospital_hours'
            WHEN $require_full_window AND hours_to_end < $window_hours
                THEN 'full_window'
        END AS broken_rule
    FROM timed
),

ranked AS (
    SELECT *, row_number() OVER (PARTITION BY subject_id, broken_rule ORDER BY intime, stay_id) AS stay_number
    FROM ruled
)

SELECT
    * EXCLUDE (broken_rule, stay_number),
    CAST(least($window_hours, ceil(hours_to_end)) AS integer) AS hours_observable,
    CASE
        WHEN broken_rule IS NULL AND $first_stay_only AND stay_number > 1 THEN 'first_stay'
        ELSE broken_rule
    END AS excluded_by
FROM ranked
