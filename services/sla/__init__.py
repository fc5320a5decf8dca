"""sla: the clocks of every work order, their lamps, and the three levels of supervision."""
