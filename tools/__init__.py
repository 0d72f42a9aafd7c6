"""Tools of the repository: checks, the site and what it is made from. Not part of the package."""
