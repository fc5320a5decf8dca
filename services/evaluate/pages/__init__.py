"""What evaluate shows in a browser: the ranking, the cases behind a number, a unit's portrait, incentives."""
