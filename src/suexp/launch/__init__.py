"""Where runs go: this process, others of this machine, or an engine's workers."""
