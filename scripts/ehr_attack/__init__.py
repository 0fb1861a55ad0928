"""Susceptible locations in medical records: sparse adversarial attacks on clinical time series."""

__version__ = "0.1.0"
