"""What a run will cost, before it is started: rows, disk, memory, time and GPU need.

The first stages are run on a sample of the source (`pilot`), the steps of training and attack on random inputs
(`calibration`); `workload` counts, `plan` puts counts and measurements together, `presentation` says it in words.
"""
