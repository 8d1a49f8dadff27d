"""The page: a report as one HTML file that needs nothing else, neither network nor server.

``save.py`` is what commands call. ``payload.py`` gathers what the page embeds, ``document.py`` makes the file of it and of
``page.html.j2``, ``page.css`` and ``js/``. Everything that a person wrote (names, notes) reaches the page as JSON and is
shown as text.
"""
