"""The parts of ``gpu_check.py``; they need torch, triton and numpy only."""
