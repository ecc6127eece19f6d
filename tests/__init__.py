"""The tests of propeller."""

import os

# gRPC looks at this when it is imported. Tests that serve it start processes by fork and exec, and between the two its
# handlers abort now and then: "epoll_wait error: Bad file descriptor".
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
