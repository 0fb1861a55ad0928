-- Every value moves with its hour to the same minute of the hour that takes its place; values outside the hours of
-- `moves` stay. The order of the values within an hour, and so the last bits of their mean, stay as they were.
SELECT
    measurements.stay_id,
    coalesce(moves.new_hour + (measurements.hours - floor(measurements.hours)), measurements.hours) AS hours,
    measurements.variable,
    measurements.value
FROM measurements
LEFT JOIN moves ON
    measurements.stay_id = moves.stay_id
    AND moves.hour = CAST(floor(measurements.hours) AS bigint)
ORDER BY measurements.stay_id, measurements.variable, hours, measurements.value
