-- One row is one recorded value of a stay of the cohort, in hours since ICU admission; units are canonical already.
SELECT
    reviewed.stay_id,
    reviewed.hours_observable,
    records.hours,
    items.variable,
    items.variable_order,
    items.low_exclusive,
    items.high_inclusive,
    records.value
FROM records
INNER JOIN items USING (parameter)
INNER JOIN reviewed USING (stay_id)
WHERE reviewed.excluded_by IS NULL
