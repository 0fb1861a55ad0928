-- One row is one charted number of a wanted item, in the unit it was charted in. Runs on DuckDB and on PostgreSQL.
-- MIMIC-IV holds no rows that were struck out, and no mark of them; rows with a warning are kept.
SELECT
    CAST(subject_id AS bigint) AS subject_id,
    CAST(stay_id AS bigint) AS stay_id,
    CAST(itemid AS bigint) AS item_id,
    CAST(charttime AS timestamp) AS event_time,
    CAST(valuenum AS double precision) AS value,
    CAST({valueuom} AS varchar) AS unit
FROM chartevents
WHERE
    itemid IN ({item_ids})
    AND valuenum IS NOT NULL
    AND charttime IS NOT NULL
