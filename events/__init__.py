"""The contract between the services: the typed records, the topics and the partition count. Imports no app."""
