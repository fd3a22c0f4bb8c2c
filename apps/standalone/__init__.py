"""The whole system on one machine: Apache Kafka, a MongoDB-compatible server and the services, as child processes."""
