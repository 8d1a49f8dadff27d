"""Laws of scaling: fitted to the rows of a series, compared by what they foresee, carried on to sizes that nobody ran."""
