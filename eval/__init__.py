"""Evaluation: one pass of answers per variant, metrics with error bars, a scorecard, a report."""
