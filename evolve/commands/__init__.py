"""The commands of `evolve`, by what they do; heavy imports wait until a command needs them."""
