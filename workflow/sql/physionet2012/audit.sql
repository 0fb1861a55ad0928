-- One row is one recorded number of a wanted parameter, of whatever record; records tell no units.
SELECT
    items.variable,
    items.parameter AS code,
    items.low_exclusive,
    items.high_inclusive,
    records.stay_id AS patient,
    CAST(NULL AS varchar) AS folded_unit,
    CAST(NULL AS varchar) AS unit,
    records.value
FROM records
INNER JOIN items USING (parameter)
