"""How an event reaches the reconciler: the queue port, its queues and the relay."""
