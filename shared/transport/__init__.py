"""What carries events between services: two transports behind the Protocol of `shared.bus.records`."""
