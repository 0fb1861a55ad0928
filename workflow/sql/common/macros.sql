-- Hours from one time to another. The microseconds are whole numbers that a double holds exactly, and an hour
-- has enough of them that a time just before hour 48 stays below 48.0: comparisons with whole hours are exact.
CREATE TEMP MACRO hours_between(start_time, end_time) AS
    CAST(epoch_us(end_time) - epoch_us(start_time) AS double) / 3.6e9;
