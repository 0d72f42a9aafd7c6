"""A request of fleetaudit as it travels: the text that `fleetaudit probe` prints, compressed.

TEXT is that text from its third line on. To read it, replace the last line by: print(TEXT)
"""
