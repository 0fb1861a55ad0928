-- One row is one recorded value of a stay of the cohort, in hours since its ICU intime and in the canonical unit.
-- A charted value that names its stay belongs to that stay; every other value belongs to each stay of the patient
-- whose window holds it.
WITH events AS (
    SELECT 'chartevents' AS table_name, subject_id, stay_id, item_id, event_time, value FROM chartevents
    UNION ALL
    SELECT 'labevents' AS table_name, subject_id, NULL AS stay_id, item_id, event_time, value FROM labevents
)

SELECT
    reviewed.stay_id,
    reviewed.hours_observable,
    hours_between(reviewed.intime, events.event_time) AS hours,
    items.variable,
    items.variable_order,
    items.low_exclusive,
    items.high_inclusive,
    CASE WHEN items.fahrenheit THEN (events.value - 32) / 1.8 ELSE events.value END AS value
FROM events
INNER JOIN items USING (table_name, item_id)
INNER JOIN reviewed
    ON events.subject_id = reviewed.subject_id AND coalesce(events.stay_id, reviewed.stay_id) = reviewed.stay_id
WHERE reviewed.excluded_by IS NULL
