-- One row is one thing that must not be in the source: how often it is, and what to tell the user.
SELECT
    count(*) - count(DISTINCT stay_id) AS cases,
    'records stand more than once in the Outcomes files. Expected each RecordID once over all sets; is the same set '
    || 'there under two names? Keep one of them.' AS message
FROM outcomes
UNION ALL
-- Every record begins with its descriptors, so a record without any has no file, or an empty one.
SELECT
    count(*) AS cases,
    'records of the Outcomes files have no file set-<x>/<RecordID>.txt, or an empty one. The archive was probably not '
    || 'unpacked to its end; unpack or download the set again.' AS message
FROM (SELECT stay_id FROM outcomes EXCEPT SELECT stay_id FROM records) AS without_record
UNION ALL
SELECT
    count(*) AS cases,
    'record files have no line in the Outcomes files. Do set-<x> and Outcomes-<x>.txt belong together? Download the '
    || 'Outcomes file again.' AS message
FROM (SELECT stay_id FROM records EXCEPT SELECT stay_id FROM outcomes) AS without_outcome
UNION ALL
SELECT
    count(*) AS cases,
    'records hold another RecordID than their file name says. Restore the original names, or download the set again.'
        AS message
FROM records
WHERE parameter = 'RecordID' AND value <> stay_id
