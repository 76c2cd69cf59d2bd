"""The environment of a call: settings of torch and NumPy, devices, optional libraries, limits of time."""
