"""Tables for people: aggregates as CSV, small numbers suppressed. Nothing is imported here."""
