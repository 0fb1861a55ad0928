-- One row is one charted item. Runs on DuckDB and on PostgreSQL.
SELECT
    CAST(itemid AS bigint) AS item_id,
    CAST(label AS varchar) AS label
FROM d_items
