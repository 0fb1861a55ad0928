-- One row is one thing that may be wrong with the source's keys or times: how often it is (cases), out of how many.
-- Of the two event tables only the rows of wanted items are known here. A day's slack is given where charting is late.
WITH events AS (
    SELECT 1 AS event_order, 'chartevents' AS table_name, subject_id, event_time, item_id, stay_id, unit, value
    FROM chartevents
    UNION ALL
    SELECT 2 AS event_order, 'labevents' AS table_name, subject_id, event_time, item_id, NULL AS stay_id, unit, value
    FROM labevents
),

deaths AS (
    SELECT subject_id, max(deathtime) AS deathtime FROM admissions GROUP BY subject_id
),

repeated AS (
    SELECT event_order, table_name, subject_id, event_time, item_id, stay_id, unit, value, count(*) - 1 AS more
    FROM events
    GROUP BY ALL
),

charted AS (
    SELECT chartevents.event_time, chartevents.stay_id, icustays.stay_id AS known_stay, icustays.intime, icustays.outtime
    FROM chartevents
    LEFT JOIN icustays USING (stay_id, subject_id)
),

placed AS (
    SELECT
        event_order,
        table_name,
        EXISTS (
            SELECT 1
            FROM icustays
            WHERE
                icustays.subject_id = events.subject_id
                AND hours_between(events.event_time, icustays.intime) < 24
                AND hours_between(icustays.outtime, events.event_time) < 24
        ) AS near_a_stay
    FROM events
),

found AS (
    SELECT
        10 AS position,
        'icustays' AS table_name,
        'keys that stand more than once' AS what,
        count(*) - count(DISTINCT stay_id) AS cases,
        count(*) AS total,
        'the run stops' AS consequence
    FROM icustays
    UNION ALL
    SELECT
        11, 'admissions', 'keys that stand more than once', count(*) - count(DISTINCT hadm_id), count(*),
        'the run stops where ICU stays are concerned'
    FROM admissions
    UNION ALL
    SELECT
        12, 'patients', 'keys that stand more than once', count(*) - count(DISTINCT subject_id), count(*),
        'the run stops where ICU stays are concerned'
    FROM patients
    UNION ALL
    SELECT
        20, 'icustays', 'without their admission or patient',
        count(*) FILTER (WHERE admissions.hadm_id IS NULL OR patients.subject_id IS NULL), count(*),
        'excluded from the cohort'
    FROM icustays
    LEFT JOIN admissions USING (hadm_id, subject_id)
    LEFT JOIN patients ON icustays.subject_id = patients.subject_id
    UNION ALL
    SELECT
        30, 'admissions', 'discharged before they were admitted',
        count(*) FILTER (WHERE dischtime < admittime), count(*), 'their stays are excluded'
    FROM admissions
    UNION ALL
    SELECT
        31, 'admissions', 'died before they were admitted',
        count(*) FILTER (WHERE deathtime < admittime), count(*), 'their stays are excluded'
    FROM admissions
    UNION ALL
    SELECT
        32, 'icustays', 'without a time in or out, or out before in',
        count(*) FILTER (WHERE coalesce(outtime <= intime, true)), count(*), 'excluded from the cohort'
    FROM icustays
    UNION ALL
    SELECT
        33, 'icustays', 'begin a day or more before their admission, or after its end',
        count(*) FILTER (
            WHERE hours_between(intime, admittime) >= 24 OR intime > dischtime
        ),
        count(*), 'kept'
    FROM icustays
    INNER JOIN admissions USING (hadm_id, subject_id)
    UNION ALL
    SELECT
        40 + event_order, table_name, 'equal to another row in all that is read',
        CAST(sum(more) AS bigint), CAST(sum(more + 1) AS bigint), 'kept: hourly means hardly change'
    FROM repeated
    GROUP BY event_order, table_name
    UNION ALL
    SELECT
        45, 'chartevents', 'name no ICU stay', count(*) FILTER (WHERE stay_id IS NULL), count(*),
        'placed by patient and time'
    FROM charted
    UNION ALL
    SELECT
        46, 'chartevents', 'name an ICU stay that is not the patient''s or unknown',
        count(*) FILTER (WHERE stay_id IS NOT NULL AND known_stay IS NULL), count(*), 'not used'
    FROM charted
    UNION ALL
    SELECT
        47, 'chartevents', 'a day or more before or after the stay that they name',
        count(*) FILTER (
            WHERE hours_between(event_time, intime) >= 24 OR hours_between(outtime, event_time) >= 24
        ),
        count(*), 'used inside the window only'
    FROM charted
    UNION ALL
    SELECT
        48 + event_order, table_name, 'a day or more from every ICU stay of the patient',
        count(*) FILTER (WHERE NOT near_a_stay), count(*), 'used inside a window only'
    FROM placed
    GROUP BY event_order, table_name
    UNION ALL
    SELECT
        60 + event_order, table_name, 'a day or more after the patient''s death in hospital',
        count(*) FILTER (WHERE hours_between(deathtime, event_time) >= 24), count(*), 'used inside the window only'
    FROM events
    INNER JOIN deaths USING (subject_id)
    GROUP BY event_order, table_name
)

SELECT position, table_name, what, cases, total, consequence
FROM found
