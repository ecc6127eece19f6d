"""The I/O of effects: inputs, outputs, pods of attempts. One executor an effect, registered in `EXECUTORS`."""
