"""From a folder of mixed raw frames to sets that belong together, and the order in which they are reduced."""
