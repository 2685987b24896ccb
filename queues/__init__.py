"""Carries events to the reconciler: the queue port, its queues and the relay."""
