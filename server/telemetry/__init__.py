"""What the server tells of itself while it runs: metrics in two forms, traces, profiles."""
