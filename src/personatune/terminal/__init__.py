"""What people see in a terminal: progress, tables, plots."""
