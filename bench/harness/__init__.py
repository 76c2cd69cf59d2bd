"""What measurements share: trained networks, coders and peers, curves and tables, the machine."""
