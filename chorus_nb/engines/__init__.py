"""Where containers come from: the contract in :mod:`.base`, and each engine in a module of its own."""
