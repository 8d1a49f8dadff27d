"""Two studies, or two versions of the code: is B slower than A, and how sure is that?"""
