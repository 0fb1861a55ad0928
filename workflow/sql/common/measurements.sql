-- One row is one plausible recorded value of a variable in the window of a stay, in the variable's canonical unit.
-- The source's placed.sql says when each value was recorded. Comparisons drop NaN and infinity too, which sort
-- above every number.
SELECT stay_id, hours, variable, variable_order, value
FROM placed
WHERE
    hours >= -$carry_in_hours AND hours < hours_observable
    AND value > low_exclusive AND value <= high_inclusive
