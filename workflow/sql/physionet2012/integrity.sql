-- One row is one thing that may be wrong with the source's keys or times: how often it is (cases), out of how many.
SELECT
    1 AS position,
    'outcomes' AS table_name,
    'keys that stand more than once' AS what,
    count(*) - count(DISTINCT stay_id) AS cases,
    count(*) AS total,
    'the run stops' AS consequence
FROM outcomes
UNION ALL
SELECT
    2, 'records', 'stamped at or after hour 48', count(*) FILTER (WHERE hours >= 48), count(*), 'not used'
FROM records
