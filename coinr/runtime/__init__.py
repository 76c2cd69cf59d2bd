"""What results do not depend on: settings of torch and NumPy, devices, libraries at hand, time."""
