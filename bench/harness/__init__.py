"""What measurements share: trained networks, coders and peers, curves and tables, results, times, the machine."""
