"""How an attempt of a task becomes a resource of the cluster, and what that resource's state means; `pod` is one."""
