-- One row is one numeric laboratory result of a wanted item. Runs on DuckDB and on PostgreSQL.
-- The admission is left out on purpose: many results have none (a fifth in MIMIC-III); patient and time join them.
SELECT
    CAST(subject_id AS bigint) AS subject_id,
    CAST(itemid AS bigint) AS item_id,
    CAST(charttime AS timestamp) AS event_time,
    CAST(valuenum AS double precision) AS value,
    CAST({valueuom} AS varchar) AS unit
FROM labevents
WHERE
    itemid IN ({item_ids})
    AND valuenum IS NOT NULL
    AND charttime IS NOT NULL
