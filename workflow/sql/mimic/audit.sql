-- One row is one recorded number of a wanted item, of whatever patient, in the unit it was recorded in.
WITH events AS (
    SELECT 'chartevents' AS table_name, item_id, subject_id, unit, value FROM chartevents
    UNION ALL
    SELECT 'labevents' AS table_name, item_id, subject_id, unit, value FROM labevents
)

SELECT
    items.variable,
    CAST(items.item_id AS varchar) AS code,
    items.low_exclusive,
    items.high_inclusive,
    events.subject_id AS patient,
    lower(trim(events.unit)) AS folded_unit,
    trim(events.unit) AS unit,
    CASE WHEN items.fahrenheit THEN (events.value - 32) / 1.8 ELSE events.value END AS value
FROM events
INNER JOIN items USING (table_name, item_id)
