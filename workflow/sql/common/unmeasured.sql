-- The last rule of the cohort: a stay without a single value from hour 0 on is excluded.
UPDATE reviewed
SET excluded_by = 'no_measurement'
WHERE excluded_by IS NULL AND stay_id NOT IN (SELECT stay_id FROM measured WHERE hours >= 0)
