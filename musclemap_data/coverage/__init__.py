"""How far each activity has come on its way from a list to a shard, and what is missing most."""
