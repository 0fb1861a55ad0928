-- One row is one step of the cohort flow: the stays that it excludes and what remains after it.
WITH placed AS (
    SELECT reviewed.*, coalesce(steps.position, 1000) AS excluded_at
    FROM reviewed
    LEFT JOIN steps ON reviewed.excluded_by = steps.key
)

SELECT
    steps.key,
    steps.label,
    count(*) FILTER (WHERE excluded_at = steps.position) AS excluded_stays,
    count(*) FILTER (WHERE excluded_at > steps.position) AS stays,
    count(DISTINCT subject_id) FILTER (WHERE excluded_at > steps.position) AS patients,
    count(*) FILTER (WHERE excluded_at > steps.position AND died_in_hospital) AS deaths
FROM steps
CROSS JOIN placed
GROUP BY steps.position, steps.key, steps.label
ORDER BY steps.position
