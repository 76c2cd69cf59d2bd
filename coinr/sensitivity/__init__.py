"""What a network says of its own weights: which errors matter. It may run modules."""
