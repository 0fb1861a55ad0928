-- One row is one recorded value of a stay of the cohort, as the canonical table of measurements has it.
-- The order is total up to equal rows, so the file does not depend on the order in which values were read.
SELECT measured.stay_id, measured.hours, measured.variable, measured.value
FROM measured
INNER JOIN reviewed USING (stay_id)
WHERE reviewed.excluded_by IS NULL
ORDER BY measured.stay_id, measured.variable_order, measured.hours, measured.value
