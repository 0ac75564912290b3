"""What is kept: data versions, runs and samples, and who was made from whom."""
