"""For single patients: what a run's models predict, and how little would have to be charted otherwise to flip it."""
