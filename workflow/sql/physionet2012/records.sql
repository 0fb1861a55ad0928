-- One row is one line of a record: a descriptor (at hour 0) or a recorded value. Times are hours and minutes since
-- ICU admission. A line without a time or a number stops the reading; the message names its file (record_files.py).
SELECT
    recordid AS stay_id,
    CASE
        WHEN regexp_full_match(time, '[0-9]{1,2}:[0-5][0-9]')
            THEN CAST(split_part(time, ':', 1) AS double) + CAST(split_part(time, ':', 2) AS double) / 60
        ELSE error(concat('no time in record ', recordid))
    END AS hours,
    parameter,
    CASE WHEN isfinite(value) THEN value ELSE error(concat('no number in record ', recordid)) END AS value
FROM records
WHERE parameter IN ({parameters})
