"""Lists of facts that every sampler, pruner and engine must meet; a newcomer joins by subclassing one."""
