-- One row is one ICU stay of the source, with the first rule of the cohort that excludes it (null: none does).
-- The order of the rules is that of the cohort flow. A length of stay that the source does not tell (null) breaks no
-- rule: the sources that lack it hold only stays that are long enough.
WITH ruled AS (
    SELECT
        *,
        CASE
            WHEN age_years IS NULL OR age_years < $min_age_years
                THEN 'age'
            WHEN times_unusable OR died_in_hospital IS NULL
                THEN 'time_order'
            WHEN organ_donor
                THEN 'organ_donor'
            WHEN icu_hours < $min_icu_hours
                THEN 'icu_hours'
            WHEN hospital_hours < $min_hospital_hours
                THEN 'hospital_hours'
            WHEN $require_full_window AND hours_to_end < $window_hours
                THEN 'full_window'
        END AS broken_rule
    FROM candidates
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
