-- One row is one hour of one stay: per variable the mean of the values recorded in [hour, hour + 1), NaN if none.
-- With carry-in, hour -1 holds the last value before hour 0. Aggregates see their values in a fixed order, so that
-- the sums, and with them the last bits of the means, depend on nothing else.
WITH hourly AS (
    SELECT
        stay_id,
        variable,
        CAST(floor(hours) AS integer) AS hour,
        avg(value ORDER BY hours, value) AS value
    FROM measurements
    WHERE hours >= 0
    GROUP BY ALL
    UNION ALL
    SELECT
        stay_id,
        variable,
        -1 AS hour,
        last(value ORDER BY hours, value) AS value
    FROM measurements
    WHERE hours >= -{carry_in_hours} AND hours < 0
    GROUP BY ALL
),

grid AS (
    SELECT
        stay_id,
        CAST(unnest(range({first_hour}, least(hours_observable, {window_hours}))) AS integer) AS hour
    FROM stays
)

SELECT
    stay_id,
    hour,
    {columns}
FROM grid
LEFT JOIN hourly USING (stay_id, hour)
GROUP BY stay_id, hour
ORDER BY stay_id, hour
