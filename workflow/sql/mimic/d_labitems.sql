-- One row is one laboratory item, with the fluid it is measured in. Runs on DuckDB and on PostgreSQL.
SELECT
    CAST(itemid AS bigint) AS item_id,
    CAST(label AS varchar) AS label,
    CAST(fluid AS varchar) AS fluid
FROM d_labitems
