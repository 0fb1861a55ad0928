-- One row is one code of a variable: how many values it has, of how many patients, in which units, and how they lie.
-- Values are first counted, each once, so that memory depends on how many different values there are and the quantiles
-- are exact: the smallest recorded value that at least such a share of the values does not exceed.
WITH counted AS (
    SELECT
        variable,
        code,
        coalesce(folded_unit, '') AS folded_unit,
        unit,
        value,
        NOT (value > min(low_exclusive) AND value <= min(high_inclusive)) AS outside,
        count(*) AS n
    FROM recorded
    GROUP BY variable, code, coalesce(folded_unit, ''), unit, value
),

ranked AS (
    SELECT
        *,
        sum(n) OVER (PARTITION BY variable, code ORDER BY value) AS upto,
        sum(n) OVER (PARTITION BY variable, code) AS total
    FROM counted
),

spelled AS (
    SELECT variable, code, folded_unit, unit, sum(n) AS n FROM counted GROUP BY variable, code, folded_unit, unit
),

by_unit AS (
    SELECT variable, code, folded_unit, first(unit ORDER BY n DESC, unit) AS unit, sum(n) AS n
    FROM spelled
    GROUP BY variable, code, folded_unit
),

units AS (
    SELECT
        variable,
        code,
        list(coalesce(unit, '') ORDER BY n DESC, folded_unit) AS units,
        list(CAST(n AS bigint) ORDER BY n DESC, folded_unit) AS unit_rows
    FROM by_unit
    GROUP BY variable, code
),

people AS (
    SELECT variable, code, count(DISTINCT patient) AS patients FROM recorded GROUP BY variable, code
),

spread AS (
    SELECT
        variable,
        code,
        CAST(sum(n) AS bigint) AS n_rows,
        CAST(coalesce(sum(n) FILTER (WHERE outside), 0) AS bigint) AS outside,
        min(value) FILTER (WHERE upto >= 0.05 * total) AS q05,
        min(value) FILTER (WHERE upto >= 0.5 * total) AS median,
        min(value) FILTER (WHERE upto >= 0.95 * total) AS q95
    FROM ranked
    GROUP BY variable, code
)

SELECT *
FROM spread
INNER JOIN units USING (variable, code)
INNER JOIN people USING (variable, code)
ORDER BY variable, code
