"""Where runs lie: one folder a run, named by what determines its result."""
