"""Distribution strategies and the devices they run on."""
