"""The claims of Sun et al. (2018) as tests: effect size, interval, and a plain verdict, for the data at hand.

The modules follow the way of a verdict: `cell_means` (S_q95 of hours and variables, with its replicates) ->
`statistics` (what is computed of these), `hindrances` (what forbids it) -> `performance`, `time_preference`, `places`,
`small_changes` (the tests of each claim) -> `question` (one test with its numbers) -> `rule` (what follows from them)
-> `table`.
"""
