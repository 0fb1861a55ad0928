-- One row is one more thing that may be wrong, beside those of integrity.sql: MIMIC-III tells when patients were born.
WITH events AS (
    SELECT 1 AS event_order, 'chartevents' AS table_name, subject_id, event_time FROM chartevents
    UNION ALL
    SELECT 2 AS event_order, 'labevents' AS table_name, subject_id, event_time FROM labevents
)

SELECT
    50 + event_order AS position,
    table_name,
    'before the patient was born' AS what,
    count(*) FILTER (WHERE event_time < dob) AS cases,
    count(*) AS total,
    'lie in no window: not used' AS consequence
FROM events
INNER JOIN patients USING (subject_id)
GROUP BY event_order, table_name
