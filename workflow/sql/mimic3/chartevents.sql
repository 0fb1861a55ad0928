-- One row is one charted number of a wanted item, in the unit it was charted in. Runs on DuckDB and on PostgreSQL.
-- Rows marked as errors are dropped (CareVue leaves the mark null); rows with a warning are kept.
SELECT
    CAST(subject_id AS bigint) AS subject_id,
    CAST(icustay_id AS bigint) AS stay_id,
    CAST(itemid AS bigint) AS item_id,
    CAST(charttime AS timestamp) AS event_time,
    CAST(valuenum AS double precision) AS value,
    CAST({valueuom} AS varchar) AS unit
FROM chartevents
WHERE
    itemid IN ({item_ids})
    AND coalesce(error, 0) = 0
    AND valuenum IS NOT NULL
    AND charttime IS NOT NULL
