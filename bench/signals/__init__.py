"""From a signal to a file: round trips, pictures beside other formats, budgets, optimizers, recipes."""
