"""The queue and the topic on Azure Service Bus."""
